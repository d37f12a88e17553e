"""All settings, read once: a flag of `cloudlet up`, else a variable of the environment, else a default."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from cloudlet.kernel.site import MailServer

DEFAULT_PORT = 4566
# The first is AWS's since April 2023; with the others new buckets are as before: lists count, nothing is blocked.
OBJECT_OWNERSHIPS = ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter")
# How a mail server's URL begins → how its connection is secured, and the port that is usual.
_MAIL_SCHEMES: dict[str, tuple[Literal["", "starttls", "tls"], int]] = {
    "smtp": ("", 25), "smtp+starttls": ("starttls", 587), "smtps": ("tls", 465)}
_ADDRESS = re.compile(r"[!-?A-~]+@[A-Za-z0-9.-]+")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


class BadSetting(Exception):
    """A setting that cannot be; the text names it and says what it takes."""


@dataclass(frozen=True, slots=True)
class Config:
    """One installation's settings. `public_cidr` is where public addresses come from; `object_ownership` who owns what
    is put into S3 buckets that are made from now on, unless their makers say it; `smtp` and `mail_from` are what
    `mail_server` was made of; `keep_queue_names`: the name of a deleted queue is not free at once."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    public_cidr: str = "203.0.113.0/24"
    allow_development_key: bool = False
    object_ownership: str = OBJECT_OWNERSHIPS[0]
    smtp: str = ""
    mail_from: str = ""
    mail_server: MailServer | None = None
    keep_queue_names: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the endpoint."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    @property
    def endpoint(self) -> str:
        """Where clients on this machine reach us."""
        host = "localhost" if self.is_loopback or self.host in ("0.0.0.0", "::") else self.host
        return f"http://{host}:{self.port}"

    @property
    def database(self) -> Path:
        """The store's file."""
        return self.data_dir / "cloudlet.db"

    @property
    def log(self) -> Path:
        """What the control plane says, when it runs in the background."""
        return self.data_dir / "cloudlet.log"


def _default_data_dir(environment: Mapping[str, str], root: bool) -> Path:
    if root:
        return Path("/var/lib/cloudlet")
    home = environment.get("XDG_DATA_HOME") or environment.get("HOME", "/") + "/.local/share"
    return Path(home) / "cloudlet"


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise BadSetting(f"the port must be a number from 1 to 65535, not {text!r}")
    return int(text)


def _public_cidr(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise BadSetting(f"the public range must be an IPv4 range such as 203.0.113.0/24: {error}") from None
    if not 16 <= network.prefixlen <= 28:
        raise BadSetting(f"the public range must be between a /16 and a /28, not a /{network.prefixlen}")
    return str(network)


def _object_ownership(text: str) -> str:
    if text not in OBJECT_OWNERSHIPS:
        raise BadSetting(f"the object ownership must be one of {', '.join(OBJECT_OWNERSHIPS)}, not {text!r}")
    return text


def _mail_server(url: str, sender: str, password: str) -> MailServer | None:
    """Where mail goes: smtp://HOST, smtp+starttls://USER@HOST:PORT or smtps://…; None where no URL is given."""
    if not url:
        return None
    parts = urlsplit(url)
    try:
        host, port, known = parts.hostname, parts.port, _MAIL_SCHEMES.get(parts.scheme)
    except ValueError:
        host = known = port = None
    if not host or known is None or parts.path.strip("/") or parts.query:
        raise BadSetting("the mail server must be given as smtp://HOST, smtp+starttls://USER@HOST or smtps://USER@HOST,"
                         " each with :PORT if need be")
    if parts.password is not None:
        raise BadSetting("a command line is seen by everybody: give the mail server's password by "
                         "CLOUDLET_SMTP_PASSWORD or, in a file, CLOUDLET_SMTP_PASSWORD_FILE")
    tls, usual = known
    if parts.username and not tls and not (host == "localhost" or _is_loopback(host)):
        raise BadSetting(f"a password would go to {host} unencrypted: use smtp+starttls:// or smtps://")
    if not _ADDRESS.fullmatch(sender):
        raise BadSetting(f"say with --mail-from (CLOUDLET_MAIL_FROM) which address mails are from, not {sender!r}")
    return MailServer(host, port or usual, sender, tls, unquote(parts.username or ""), password)


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def _password(environment: Mapping[str, str]) -> str:
    path = environment.get("CLOUDLET_SMTP_PASSWORD_FILE")
    if not path:
        return environment.get("CLOUDLET_SMTP_PASSWORD", "")
    try:
        return Path(path).read_text().strip("\n")
    except (OSError, ValueError) as error:
        raise BadSetting(f"cannot read the mail server's password from {path}: {error}") from None


def _host(text: str) -> str:
    if text != "localhost":
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise BadSetting(f"the host must be an IP address of this machine or localhost, not {text!r}") from None
    return text


def _flag(name: str, text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise BadSetting(f"{name} must be one of 1, 0, true, false, yes, no, on, off, not {text!r}")
    return text.lower() in _TRUE


def load(flags: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Config:
    """The settings from flags (None: not given) and the environment. Raises BadSetting."""
    environment = os.environ if environment is None else environment

    def setting(name: str, default: str) -> str:
        given = flags.get(name)
        return str(given) if given is not None else environment.get(f"CLOUDLET_{name.upper()}") or default

    host = _host(setting("host", "127.0.0.1"))
    allowed = _flag("CLOUDLET_ALLOW_DEVELOPMENT_KEY", setting("allow_development_key", ""))
    if not (host == "localhost" or ipaddress.ip_address(host).is_loopback or allowed):
        raise BadSetting(f"listening on {host} lets others in, and the key test/test is known to everybody; if that is "
                         "what you want, add --allow-development-key")
    smtp, mail_from = setting("smtp", ""), setting("mail_from", "")
    data_dir = Path(setting("data_dir", str(_default_data_dir(environment, os.geteuid() == 0))))
    return Config(
        data_dir=data_dir.expanduser().absolute(),
        host=host,
        port=_port(setting("port", str(DEFAULT_PORT))),
        public_cidr=_public_cidr(setting("public_cidr", "203.0.113.0/24")),
        allow_development_key=allowed,
        object_ownership=_object_ownership(setting("object_ownership", OBJECT_OWNERSHIPS[0])),
        smtp=smtp,
        mail_from=mail_from,
        mail_server=_mail_server(smtp, mail_from, _password(environment) if smtp else ""),
        keep_queue_names=_flag("CLOUDLET_KEEP_QUEUE_NAMES", setting("keep_queue_names", "")),
    )
