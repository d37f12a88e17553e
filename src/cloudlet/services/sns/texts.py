"""Text messages: what they may say, whom they are from, and an account's defaults for that.

https://docs.aws.amazon.com/sns/latest/dg/sms_publish-to-phone.html
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.sns import mailbox
from cloudlet.services.sns.endpoints import is_number
from cloudlet.services.sns.messages import Attributes
from cloudlet.services.sns.service import invalid, sns
from cloudlet.store.db import Tx
from cloudlet.store.records import record

TEXT_MAX = 1600  # characters
SENDER, KIND = "AWS.SNS.SMS.SenderID", "AWS.SNS.SMS.SMSType"
_SENDER_ID = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]{1,11}")
_KINDS = ("Promotional", "Transactional")
# What nothing here could act on: prices, reports of them, and carriers' answers.
_ABSENT = ("MonthlySpendLimit", "DeliveryStatusIAMRole", "DeliveryStatusSuccessSamplingRate", "UsageReportS3Bucket")


@record("sns.texts")
class TextSettings:
    """An account's defaults for text messages in a region; its key is `ACCOUNT/REGION`."""

    key: str
    attributes: dict[str, str] = field(default_factory=dict)


def check(attributes: Attributes) -> None:
    """Raises InvalidParameter for a sender or a kind that no text message has."""
    values = {name: value.get("StringValue", "") for name, value in attributes.items()}
    if SENDER in values:
        _check_sender(SENDER, values[SENDER])
    if values.get(KIND, _KINDS[0]) not in _KINDS:
        raise invalid(f"{KIND} Reason: it must be one of {', '.join(_KINDS)}")


def _check_sender(name: str, sender: str) -> None:
    if not _SENDER_ID.fullmatch(sender):
        raise invalid(f"{name} Reason: a sender id has 1 to 11 letters and digits, among them a letter")


def send(tx: Tx, scope: str, number: str, text: str, attributes: Attributes, name: str = "") -> None:
    """Sends it, in the name that the message says, else in `name`, else in the account's in its region (`scope`)."""
    own = attributes.get(SENDER, {}).get("StringValue")
    settings = tx.get(TextSettings, scope)
    usual = settings.attributes.get("DefaultSenderID", "") if settings is not None else ""
    mailbox.put_text(tx, number, text, own or name or usual)


@sns.write(resources=any_resource, durable=True)
def set_sms_attributes(call: Call, tx: Tx, request: Input) -> Output:
    """Changes some of the defaults; an empty value takes one away."""
    kept = tx.get(TextSettings, call.scope) or TextSettings(call.scope)
    changed, asked = dict(kept.attributes), request["attributes"]
    for name, value in asked.items():
        if name in _ABSENT and not value:
            continue
        if name in _ABSENT:
            raise invalid(f"{name} is not available here")
        if name not in ("DefaultSenderID", "DefaultSMSType"):
            raise invalid(f"Unknown attribute: {name[:64]}")
        if value and name == "DefaultSenderID":
            _check_sender(name, value)
        if value and name == "DefaultSMSType" and value not in _KINDS:
            raise invalid(f"{name} Reason: it must be one of {', '.join(_KINDS)}")
        changed[name] = value
    tx.put(dataclasses.replace(kept, attributes={name: value for name, value in changed.items() if value}))
    return {}


@sns.read(resources=any_resource)
def get_sms_attributes(call: Call, tx: Tx, request: Input) -> Output:
    """The defaults that were set, or those of them that were asked for."""
    kept = tx.get(TextSettings, call.scope)
    found: Mapping[str, Any] = kept.attributes if kept is not None else {}
    wanted = request.get("attributes") or found
    return {"attributes": {name: value for name, value in found.items() if name in wanted}}


# Nobody has opted out of text messages: they go no further than the mailbox, where nobody answers STOP.

def _check_number(number: str) -> None:
    if not is_number(number):
        raise invalid("PhoneNumber Reason: input incorrectly formatted")


@sns.read(resources=any_resource)
def check_if_phone_number_is_opted_out(call: Call, tx: Tx, request: Input) -> Output:
    """It is not."""
    _check_number(request["phoneNumber"])
    return {"isOptedOut": False}


@sns.read(resources=any_resource)
def list_phone_numbers_opted_out(call: Call, tx: Tx, request: Input) -> Output:
    """None."""
    return {"phoneNumbers": []}


@sns.read(resources=any_resource)
def opt_in_phone_number(call: Call, tx: Tx, request: Input) -> Output:
    """It is in already."""
    _check_number(request["phoneNumber"])
    return {}
