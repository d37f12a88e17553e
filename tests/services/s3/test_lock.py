"""Object lock: PutObjectLockConfiguration, GetObjectLockConfiguration, PutObjectRetention, GetObjectRetention,
PutObjectLegalHold and GetObjectLegalHold, and deletions that they refuse."""

import base64
import hashlib
from datetime import UTC, datetime

import pytest

from tests.services.s3.counter import Answer, Counter
from tests.services.s3.test_deletions import delete, told
from tests.services.s3.test_versions import set_versioning

DAY_S = 86_400
BYPASS = {"x-amz-bypass-governance-retention": "true"}


def date(counter: Counter, days: float) -> str:
    return datetime.fromtimestamp(counter.desk.clock.now() + days * DAY_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def md5(body: bytes) -> dict[str, str]:
    return {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}


def configure(counter: Counter, rule: str = "", bucket: str = "lck", enabled: str = "Enabled") -> Answer:
    body = (f"<ObjectLockConfiguration><ObjectLockEnabled>{enabled}</ObjectLockEnabled>{rule}"
            "</ObjectLockConfiguration>").encode()
    return counter.ask("PUT", f"/{bucket}", body, headers=md5(body), object_lock="")


def default(mode: str, length: str) -> str:
    return f"<Rule><DefaultRetention><Mode>{mode}</Mode>{length}</DefaultRetention></Rule>"


def put(counter: Counter, key: str = "key", body: bytes = b"data", **headers: str) -> Answer:
    named = {f"x-amz-object-lock-{name.replace('_', '-')}": value for name, value in headers.items()}
    return counter.ask("PUT", f"/lck/{key}", body, headers={**md5(body), **named})


def retain(counter: Counter, mode: str, days: float, version: str = "",
           headers: dict[str, str] | None = None) -> Answer:
    body = (f"<Retention><Mode>{mode}</Mode><RetainUntilDate>{date(counter, days)}</RetainUntilDate></Retention>"
            if mode else "<Retention/>").encode()
    more = {"versionId": version} if version else {}
    return counter.ask("PUT", "/lck/key", body, headers={**md5(body), **(headers or {})}, retention="", **more)


def hold(counter: Counter, status: str, **more: str) -> Answer:
    body = f"<LegalHold><Status>{status}</Status></LegalHold>".encode()
    return counter.ask("PUT", "/lck/key", body, headers=md5(body), legal_hold="", **more)


def remove(counter: Counter, version: str, headers: dict[str, str] | None = None, **who: str) -> str:
    return counter.ask("DELETE", "/lck/key", headers=headers, versionId=version, **who).code


@pytest.fixture
def locked(counter: Counter) -> Counter:
    counter.ask("PUT", "/lck", headers={"x-amz-bucket-object-lock-enabled": "true"})
    return counter


def test_what_a_bucket_is_locked_with(counter: Counter) -> None:
    assert counter.ask("GET", "/bkt", object_lock="").code == "ObjectLockConfigurationNotFoundError"
    assert configure(counter, bucket="bkt").code == "InvalidBucketState"
    set_versioning(counter, "Enabled")
    assert configure(counter, bucket="bkt").status == 200  # as of 2023 on buckets that are there already as well
    assert counter.ask("GET", "/bkt", object_lock="").xml.findtext("ObjectLockEnabled") == "Enabled"
    assert configure(counter, default("GOVERNANCE", "<Days>3</Days>"), bucket="bkt").status == 200
    assert counter.ask("GET", "/bkt", object_lock="").xml.findtext("Rule/DefaultRetention/Days") == "3"
    assert configure(counter, bucket="bkt").status == 200
    assert counter.ask("GET", "/bkt", object_lock="").xml.find("Rule") is None
    assert set_versioning(counter, "Suspended").code == "InvalidBucketState"


@pytest.mark.parametrize(("rule", "code"), [
    ("<Rule/>", "MalformedXML"), (default("GOVERNANCE", ""), "MalformedXML"),
    (default("governance", "<Days>1</Days>"), "MalformedXML"),
    (default("GOVERNANCE", "<Days>1</Days><Years>1</Years>"), "MalformedXML"),
    (default("GOVERNANCE", "<Days>0</Days>"), "InvalidArgument"),
    (default("COMPLIANCE", "<Years>-1</Years>"), "InvalidArgument"),
    (default("COMPLIANCE", "<Years>101</Years>"), "InvalidArgument"),
    (default("COMPLIANCE", "<Days>36501</Days>"), "InvalidArgument")])
def test_what_is_no_default(locked: Counter, rule: str, code: str) -> None:
    assert configure(locked, rule).code == code
    assert configure(locked, enabled="Disabled").code == "MalformedXML"
    assert locked.ask("GET", "/lck", object_lock="").xml.find("Rule") is None


def test_new_objects_are_retained_by_default(locked: Counter) -> None:
    before = put(locked).headers["x-amz-version-id"]
    configure(locked, default("COMPLIANCE", "<Years>1</Years>"))
    made = put(locked).headers["x-amz-version-id"]
    copied = locked.ask("PUT", "/lck/key", headers={"x-amz-copy-source": "/lck/key"}).code
    assert copied == "InvalidRequest"
    copy = locked.ask("PUT", "/lck/copy", headers={"x-amz-copy-source": "/lck/key"})
    head = locked.ask("HEAD", "/lck/copy").headers
    assert (copy.status, head["x-amz-object-lock-mode"]) == (200, "COMPLIANCE")
    assert head["x-amz-object-lock-retain-until-date"][:19] == date(locked, 365)[:19]
    own = put(locked, "own", mode="GOVERNANCE", retain_until_date=date(locked, 1), legal_hold="ON")
    assert own.status == 200
    head = locked.ask("HEAD", "/lck/own").headers
    assert (head["x-amz-object-lock-mode"], head["x-amz-object-lock-legal-hold"]) == ("GOVERNANCE", "ON")
    assert locked.ask("PUT", "/lck/key", b"x").code == "InvalidRequest"  # without a digest
    assert (remove(locked, made), remove(locked, before)) == ("AccessDenied", "")
    locked.desk.clock.time += 365 * DAY_S
    assert remove(locked, made) == ""


def test_a_multipart_upload_is_locked(locked: Counter) -> None:
    begun = locked.ask("POST", "/lck/key", headers={"x-amz-object-lock-legal-hold": "ON"}, uploads="")
    upload = begun.xml.findtext("UploadId")
    etag = locked.ask("PUT", "/lck/key", b"data", partNumber="1", uploadId=upload).headers["etag"]
    parts = f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
    done = locked.ask("POST", "/lck/key", f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode(),
                      uploadId=upload)
    version = done.headers["x-amz-version-id"]
    assert remove(locked, version) == "AccessDenied"
    assert locked.ask("GET", "/lck/key", legal_hold="").xml.findtext("Status") == "ON"


@pytest.mark.parametrize("headers", [
    {"mode": "GOVERNANCE"}, {"retain_until_date": "2030-01-01T00:00:00Z"}, {"legal_hold": "MAYBE"},
    {"mode": "NONE", "retain_until_date": "2030-01-01T00:00:00Z"},
    {"mode": "COMPLIANCE", "retain_until_date": "2001-01-01T00:00:00Z"}])
def test_headers_that_lock_nothing(locked: Counter, headers: dict[str, str]) -> None:
    assert put(locked, **headers).code in ("InvalidArgument", "MalformedXML")
    assert locked.rows("s3_version") == 0


def test_governance_can_be_bypassed_by_who_may(locked: Counter) -> None:
    version = put(locked, mode="GOVERNANCE", retain_until_date=date(locked, 10)).headers["x-amz-version-id"]
    user = locked.user("plain", {}, {"Effect": "Deny", "Action": "s3:BypassGovernanceRetention"})
    assert remove(locked, version) == "AccessDenied"
    assert remove(locked, version, BYPASS, **user) == "AccessDenied"
    refused = locked.ask("DELETE", "/lck/key", versionId=version)
    assert refused.xml.findtext("Message") == "Access Denied because object protected by object lock."
    assert retain(locked, "GOVERNANCE", 20).status == 200
    assert retain(locked, "GOVERNANCE", 5).code == "AccessDenied"
    assert retain(locked, "COMPLIANCE", 30).code == "AccessDenied"
    assert retain(locked, "", 0).code == "AccessDenied"
    assert retain(locked, "GOVERNANCE", 5, headers=BYPASS).status == 200
    assert told(delete(locked, f"<Key>key</Key><VersionId>{version}</VersionId>", bucket="lck"), "Error")[0][
        "Code"] == "AccessDenied"
    marker = locked.ask("DELETE", "/lck/key")  # a marker over it hurts nobody
    assert (marker.status, remove(locked, marker.headers["x-amz-version-id"])) == (204, "")
    for said in ("true", "false"):  # both are refused where there is nothing to be bypassed
        assert locked.ask("DELETE", "/bkt/key", headers=dict.fromkeys(BYPASS, said)).code == "InvalidArgument"
    assert remove(locked, version, BYPASS) == ""
    assert locked.rows("s3_version") == 0


def test_compliance_is_never_shortened(locked: Counter) -> None:
    version = put(locked, mode="COMPLIANCE", retain_until_date=date(locked, 10)).headers["x-amz-version-id"]
    assert retain(locked, "COMPLIANCE", 9, headers=BYPASS).code == "AccessDenied"
    assert retain(locked, "GOVERNANCE", 30, headers=BYPASS).code == "AccessDenied"
    assert retain(locked, "", 0, headers=BYPASS).code == "AccessDenied"
    assert retain(locked, "COMPLIANCE", 11).status == 200
    locked.desk.clock.time += 10.5 * DAY_S
    assert remove(locked, version, BYPASS) == "AccessDenied"
    locked.desk.clock.time += DAY_S
    assert retain(locked, "GOVERNANCE", 1).status == 200
    assert remove(locked, version, BYPASS) == ""


def test_retention_that_is_none(locked: Counter) -> None:
    version = put(locked).headers["x-amz-version-id"]
    assert locked.ask("GET", "/lck/key", retention="").code == "NoSuchObjectLockConfiguration"
    assert retain(locked, "GOVERNANCE", -1).code == "InvalidArgument"
    assert retain(locked, "governance", 1).code == "MalformedXML"
    assert retain(locked, "GOVERNANCE", 1, "f" * 32).code == "NoSuchVersion"
    assert retain(locked, "GOVERNANCE", 1, version).status == 200
    got = locked.ask("GET", "/lck/key", retention="", versionId=version)
    assert got.xml.findtext("Mode") == "GOVERNANCE"
    for part in ("retention", "legal_hold"):
        assert locked.ask("GET", "/bkt/key", **{part: ""}).code == "InvalidRequest"
    assert retain(locked, "", 0, headers=BYPASS).status == 200
    assert locked.ask("GET", "/lck/key", retention="").code == "NoSuchObjectLockConfiguration"


@pytest.mark.parametrize("said", ["true", "false"])
def test_where_nothing_is_locked_nothing_is_bypassed(counter: Counter, said: str) -> None:
    refused = counter.ask("DELETE", "/bkt/key", headers={"x-amz-bypass-governance-retention": said})
    assert (refused.code, refused.xml.findtext("ArgumentName")) == (
        "InvalidArgument", "x-amz-bypass-governance-retention")


def test_a_legal_hold_knows_no_bypass(locked: Counter) -> None:
    version = put(locked).headers["x-amz-version-id"]
    assert locked.ask("GET", "/lck/key", legal_hold="").code == "NoSuchObjectLockConfiguration"
    assert hold(locked, "MAYBE").code == "MalformedXML"
    assert hold(locked, "ON").status == 200
    assert remove(locked, version, BYPASS) == "AccessDenied"
    assert hold(locked, "OFF", versionId=version).status == 200
    assert locked.ask("GET", "/lck/key", legal_hold="").xml.findtext("Status") == "OFF"
    assert remove(locked, version) == ""
