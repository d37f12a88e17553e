"""The commands a person types."""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

from cloudlet import __version__
from cloudlet.config import BadSetting, Config, load

Command = Callable[[Config, argparse.Namespace], int]


class Complaint(Exception):
    """A command cannot do what was asked; the text tells a person why, and what would help."""


def _settings(parser: argparse.ArgumentParser, *, all_of_them: bool) -> None:
    parser.add_argument("--data-dir", metavar="DIR", help="where this installation keeps everything")
    if not all_of_them:
        return
    parser.add_argument("--host", metavar="ADDRESS", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", metavar="N", help="the port to listen on (default 4566)")
    parser.add_argument("--public-cidr", metavar="CIDR", help="the public addresses (default 203.0.113.0/24)")
    parser.add_argument("--object-ownership", metavar="OWNERSHIP",
                        help="of new S3 buckets (default BucketOwnerEnforced): ObjectWriter and BucketOwnerPreferred"
                             " make them as before 2023, with lists that count and no public access block")
    parser.add_argument("--smtp", metavar="URL",
                        help="where topics' mail is sent: smtp://HOST, smtp+starttls://USER@HOST, smtps://USER@HOST;"
                             " the password by CLOUDLET_SMTP_PASSWORD or CLOUDLET_SMTP_PASSWORD_FILE (default: nowhere,"
                             " `cloudlet mail` shows it)")
    parser.add_argument("--mail-from", metavar="ADDRESS", help="the address that such mail is from")
    parser.add_argument("--keep-queue-names", action="store_const", const="1",
                        help="for a minute after a queue was deleted, as AWS does: no other may have its name")
    parser.add_argument("--allow-development-key", action="store_const", const="1",
                        help="honour the key test/test even when listening beyond this machine")


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="cloudlet", description="A real AWS on machines you own.")
    top.add_argument("--version", action="version", version=f"cloudlet {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    up = commands.add_parser("up", help="start Cloudlet")
    _settings(up, all_of_them=True)
    up.add_argument("-d", "--detach", action="store_true", help="in the background")

    for name, text in (
        ("down", "stop Cloudlet and everything it runs; records and data stay"),
        ("status", "what runs, what waits, what failed and why"),
        ("mail", "the mail and the text messages that topics sent, the newest last"),
        ("doctor", "which engines this machine has, and what installs the others"),
        ("env", "the variables that point AWS tools at Cloudlet: eval \"$(cloudlet env)\""),
    ):
        _settings(commands.add_parser(name, help=text), all_of_them=False)

    logs = commands.add_parser("logs", help="what the control plane says")
    _settings(logs, all_of_them=False)
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it says more")
    logs.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="how many lines back (default 50)")

    images = commands.add_parser("images", help="machine images: made from a distribution's packages")
    verbs = images.add_subparsers(dest="verb", metavar="VERB", required=True)
    build = verbs.add_parser("build", help="make an image of a distribution")
    build.add_argument("recipe", help="debian-12 or debian-13")
    taken = verbs.add_parser("import", help="take a cloud image (raw or qcow2), which starts by its own boot loader")
    taken.add_argument("source", metavar="FILE|URL", help="where it is")
    taken.add_argument("--name", help="its name as an AMI (default: the file's)")
    taken.add_argument("--sha256", metavar="DIGEST", help="what the file's content must be")
    taken.add_argument("--user", help="whom one logs in as (default: what is known of the distribution)")
    taken.add_argument("--root-device", metavar="DEVICE", help="the root device's name, such as /dev/xvda or /dev/sda1")
    removed = verbs.add_parser("remove", help="remove a built or imported image; instances of it go on")
    removed.add_argument("image", help="its name or its AMI's id")
    for verb in (build, taken, removed, verbs.add_parser("list", help="the built and imported images")):
        _settings(verb, all_of_them=False)

    ssh = commands.add_parser("ssh", help="log in to an instance, with a key that is made for it: cloudlet ssh i-0123…")
    _settings(ssh, all_of_them=False)
    ssh.add_argument("-l", "--user", help="whom to log in as (default: as its image says)")
    ssh.add_argument("-i", "--identity", metavar="FILE", help="a private key of one's own")
    ssh.add_argument("--private", action="store_true", help="by its private address, from within its VPC")
    ssh.add_argument("instance", help="its id")
    ssh.add_argument("command_line", metavar="COMMAND", nargs=argparse.REMAINDER, help="what to run there")

    demo = commands.add_parser("demo", help="walk through what Cloudlet does, for real")
    _settings(demo, all_of_them=True)

    aws = commands.add_parser("aws", help="the real aws CLI with endpoint, key and region set: cloudlet aws s3 ls")
    aws.add_argument("arguments", nargs=argparse.REMAINDER)
    return top


_COMMANDS = {  # imported when asked for: `cloudlet env` need not load the whole control plane
    "up": "lifecycle", "down": "lifecycle", "status": "report", "mail": "mail", "logs": "report", "doctor": "doctor",
    "env": "clients", "images": "images", "aws": "clients", "demo": "clients",
    "ssh": "ssh",
}


def _command(name: str) -> Command:
    command: Command = getattr(importlib.import_module(f"cloudlet.cli.{_COMMANDS[name]}"), name)
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit status."""
    parsed = parser().parse_args(arguments)
    try:
        config = load(vars(parsed))
        return _command(parsed.command)(config, parsed)
    except (BadSetting, Complaint) as problem:
        print(f"cloudlet: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
