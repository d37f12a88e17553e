"""`cloudlet mail`: the built-in mailbox, where topics send mail and text messages."""

import argparse
from datetime import UTC, datetime
from typing import Any

from cloudlet.cli import Complaint
from cloudlet.cli.endpoint import ask, find
from cloudlet.config import Config


def mail(config: Config, _arguments: argparse.Namespace) -> int:
    """Prints the newest mails, the newest last. Exit status 1 where nothing runs."""
    there = find(config)
    if there is None:
        print(f"Cloudlet is not running (data in {config.data_dir})")
        return 1
    told = ask(there.url, "/_cloudlet/mail")
    if told is None:
        raise Complaint(f"the process {there.pid} does not answer at {there.url}; `cloudlet logs` may tell why")
    print("\n".join(map(written, told["mail"])) or "no mail")
    return 0


def written(each: dict[str, Any]) -> str:
    """One mail as a person reads it."""
    lines = [f"Date: {datetime.fromtimestamp(each['at'], UTC):%Y-%m-%d %H:%M:%S} UTC", f"From: {each['sender']}",
             f"To: {each['to']} ({each['protocol']})"]
    if each["subject"]:
        lines.append(f"Subject: {each['subject']}")
    return "\n".join([*lines, "", each["text"], ""])
