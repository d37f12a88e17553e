"""PutBucketLifecycleConfiguration, GetBucketLifecycleConfiguration and DeleteBucketLifecycle."""

import base64
import hashlib

import pytest

from tests.services.s3.counter import Answer, Counter

DAYS = "<Expiration><Days>1</Days></Expiration>"


def configure(counter: Counter, *rules: str, bucket: str = "bkt", status: str = "Enabled", ids: bool = True,
              headers: dict[str, str] | None = None) -> Answer:
    """Rules, each without its id and status."""
    body = "".join(f"<Rule>{f'<ID>r{number}</ID>' if ids else ''}<Status>{status}</Status>{rule}</Rule>"
                   for number, rule in enumerate(rules))
    body = f"<LifecycleConfiguration>{body}</LifecycleConfiguration>"
    md5 = base64.b64encode(hashlib.md5(body.encode()).digest()).decode()
    return counter.ask("PUT", f"/{bucket}", body.encode(), headers={"content-md5": md5, **(headers or {})},
                       lifecycle="")


def test_rules_are_kept_as_they_were_put(counter: Counter) -> None:
    assert counter.ask("GET", "/bkt", lifecycle="").code == "NoSuchLifecycleConfiguration"
    answer = configure(counter, f"<Filter><And><Prefix>a/</Prefix>{TAG}</And></Filter>{DAYS}",
                       "<Prefix>x</Prefix><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>")
    minimum = "x-amz-transition-default-minimum-object-size"
    assert (answer.status, answer.headers[minimum]) == (200, "all_storage_classes_128K")
    got = counter.ask("GET", "/bkt", lifecycle="")
    assert got.headers[minimum] == "all_storage_classes_128K"
    one, two = got.xml.findall("Rule")
    assert (one.findtext("ID"), one.findtext("Filter/And/Tag/Key"), one.findtext("Expiration/Days")) == ("r0", "k", "1")
    assert (two.findtext("Prefix"), two.findtext("Expiration/Date")[:19]) == ("x", "2030-01-01T00:00:00")
    varies = {minimum: "varies_by_storage_class"}
    assert configure(counter, f"<Filter/>{DAYS}", ids=False, headers=varies).status == 200
    got = counter.ask("GET", "/bkt", lifecycle="")
    assert got.headers[minimum] == "varies_by_storage_class" and got.xml.findtext("Rule/ID")
    assert configure(counter, f"<Filter/>{DAYS}", headers={minimum: "none"}).code == "InvalidArgument"
    assert counter.ask("DELETE", "/bkt", lifecycle="").status == 204
    assert counter.ask("GET", "/bkt", lifecycle="").code == "NoSuchLifecycleConfiguration"


def transition(days: int, name: str) -> str:
    return f"<Transition><Days>{days}</Days><StorageClass>{name}</StorageClass></Transition>"


def noncurrent(days: str, more: str = "") -> str:
    return (f"<NoncurrentVersionExpiration><NoncurrentDays>{days}</NoncurrentDays>{more}"
            "</NoncurrentVersionExpiration>")


ABORT = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
TAG = "<Tag><Key>k</Key><Value>v</Value></Tag>"
SMALLER = "<ObjectSizeLessThan>{}</ObjectSizeLessThan>"
MARKER = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"


@pytest.mark.parametrize(("rule", "code"), [
    (DAYS, "MalformedXML"), (f"<Filter/><Prefix/>{DAYS}", "MalformedXML"), ("<Filter/>", "InvalidRequest"),
    (f"<Filter><Prefix>a</Prefix>{TAG}</Filter>{DAYS}", "MalformedXML"),
    (f"<Filter><And><Prefix>a</Prefix></And></Filter>{DAYS}", "MalformedXML"),
    (f"<Filter><And>{TAG}{TAG}</And></Filter>{DAYS}", "InvalidRequest"),
    (f"<Filter><And><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And>"
     f"</Filter>{DAYS}", "InvalidRequest"),
    ("<Filter/><Expiration/>", "MalformedXML"),
    ("<Filter/><Expiration><Days>0</Days></Expiration>", "InvalidArgument"),
    ("<Filter/><Expiration><Days>1</Days><Date>2030-01-01T00:00:00Z</Date></Expiration>", "MalformedXML"),
    ("<Filter/><Expiration><Date>2030-01-01T12:00:00Z</Date></Expiration>", "InvalidArgument"),
    (f"<Filter>{TAG}</Filter>{MARKER}", "InvalidRequest"), (f"<Filter>{TAG}</Filter>{ABORT}", "InvalidRequest"),
    (f"<Filter/>{ABORT.replace('1', '0')}", "InvalidArgument"),
    (f"<Filter/>{transition(29, 'STANDARD_IA')}", "InvalidArgument"),
    (f"<Filter/>{transition(-1, 'GLACIER')}", "InvalidArgument"),
    (f"<Filter/>{transition(1, 'STANDARD')}", "MalformedXML"),
    (f"<Filter/>{transition(1, 'GLACIER') * 2}", "InvalidRequest"),
    (f"<Filter/>{transition(30, 'STANDARD_IA')}{transition(40, 'GLACIER')}", "InvalidArgument"),
    (f"<Filter/>{transition(90, 'DEEP_ARCHIVE')}{transition(90, 'GLACIER')}", "InvalidArgument"),
    (f"<Filter/>{transition(1, 'GLACIER')}{DAYS}", "InvalidArgument"),
    (f"<Filter/>{transition(1, 'GLACIER')}<Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>",
     "InvalidRequest"),
    (f"<Filter/>{noncurrent('0')}", "InvalidArgument"),
    (f"<Filter/>{noncurrent('1', '<NewerNoncurrentVersions>101</NewerNoncurrentVersions>')}", "InvalidArgument"),
    (f"<Prefix/>{noncurrent('1', '<NewerNoncurrentVersions>1</NewerNoncurrentVersions>')}", "InvalidRequest"),
    (f"<Filter>{SMALLER.format(5)}</Filter>{MARKER}", "InvalidRequest"),
    (f"<Filter>{SMALLER.format(0)}</Filter>{DAYS}", "InvalidRequest"),
    (f"<Filter>{SMALLER.format((1000 << 40) + 1)}</Filter>{DAYS}", "InvalidRequest"),
    (f"<Filter>{SMALLER.format(-1).replace('Less', 'Greater')}</Filter>{DAYS}", "InvalidRequest"),
    (f"<Filter/>{noncurrent('1')}<NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays><StorageClass>GLACIER"
     "</StorageClass></NoncurrentVersionTransition>", "InvalidArgument")])
def test_what_is_no_rule(counter: Counter, rule: str, code: str) -> None:
    assert configure(counter, rule).code == code
    assert counter.ask("GET", "/bkt", lifecycle="").status == 404


def test_sets_that_are_none(counter: Counter) -> None:
    assert configure(counter).code == "MalformedXML"
    assert configure(counter, f"<Filter/>{DAYS}", status="Maybe").code == "MalformedXML"
    assert configure(counter, *([f"<Filter/>{DAYS}"] * 1001)).code == "MalformedXML"
    assert configure(counter, *([f"<ID>same</ID><Filter/>{DAYS}"] * 2), ids=False).code == "InvalidArgument"
    assert configure(counter, f"<ID>{'x' * 256}</ID><Filter/>{DAYS}", ids=False).code == "InvalidArgument"
    rules = (f"<Filter><Prefix>{each}</Prefix></Filter>{DAYS}" for each in range(1000))
    assert configure(counter, *rules).status == 200
