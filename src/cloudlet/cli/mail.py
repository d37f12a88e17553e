"""`cloudlet mail`: the built-in mailbox, where topics send mail and text messages."""

import argparse
from datetime import UTC, datetime
from typing import Any

from cloudlet.cli.endpoint import told
from cloudlet.config import Config


def mail(config: Config, _arguments: argparse.Namespace) -> int:
    """Prints the newest mails, the newest last. Exit status 1 where nothing runs."""
    answer = told(config, "/_cloudlet/mail")
    if answer is None:
        return 1
    print("\n".join(map(written, answer[1]["mail"])) or "no mail")
    return 0


def written(each: dict[str, Any]) -> str:
    """One mail as a person reads it."""
    lines = [f"Date: {datetime.fromtimestamp(each['at'], UTC):%Y-%m-%d %H:%M:%S} UTC", f"From: {each['sender']}",
             f"To: {each['to']} ({each['protocol']})"]
    if each["subject"]:
        lines.append(f"Subject: {each['subject']}")
    return "\n".join([*lines, "", each["text"], ""])
