"""What the parts may know of this installation: the settings that reach beyond the app."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cloudlet.kernel.names import Installation


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is sent by SMTP: over `tls` from the beginning, or once it is asked for (`starttls`); `user` "" for a
    server that asks for none; `sender` is the address that mails are from."""

    host: str
    port: int
    sender: str
    tls: Literal["", "starttls", "tls"] = ""
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Site:
    """`port` of the endpoint; `public_cidr` from which public addresses come; `egress`: workloads may reach the
    internet; `development_key`: the well-known key `test`/`test` is honoured; `instance_memory_bytes`: how much of the
    host's memory virtual machines may have together, as measured at the start (None: nobody counts);
    `object_ownership`: that of new S3 buckets; `mail_server` (None: mail stays in the built-in mailbox);
    `keep_queue_names`: that of a deleted queue is not free at once."""

    installation: Installation
    data_dir: Path
    port: int = 4566
    public_cidr: str = "203.0.113.0/24"
    egress: bool = False
    development_key: bool = True
    instance_memory_bytes: int | None = None
    object_ownership: str = "BucketOwnerEnforced"
    mail_server: MailServer | None = None
    keep_queue_names: bool = False
