"""DeleteObjects."""

import base64
import hashlib

import pytest

from tests.services.s3.counter import Answer, Counter

ENABLED = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


def delete(counter: Counter, *objects: str, quiet: bool = False, key: str = "test", bucket: str = "bkt") -> Answer:
    body = (f"<Delete>{'<Quiet>true</Quiet>' if quiet else ''}"
            f"{''.join(f'<Object>{each}</Object>' for each in objects)}</Delete>").encode()
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    return counter.ask("POST", f"/{bucket}", body, headers={"content-md5": md5}, key=key, delete="")


def told(answer: Answer, kind: str = "Deleted") -> list[dict[str, str]]:
    return [{child.tag: child.text for child in each} for each in answer.xml.findall(kind)]


def test_keys_at_once(counter: Counter) -> None:
    for name in "abc":
        counter.ask("PUT", f"/bkt/{name}", b"x")
    answer = delete(counter, "<Key>a</Key>", "<Key>b</Key>", "<Key>none &amp; nothing</Key>")
    assert answer.status == 200
    assert told(answer) == [{"Key": "a"}, {"Key": "b"}, {"Key": "none & nothing"}]
    assert [counter.ask("GET", f"/bkt/{name}").status for name in "abc"] == [404, 404, 200]
    assert told(delete(counter, "<Key>c</Key>", quiet=True)) == []
    assert (counter.rows("s3_version"), counter.rows("s3_content")) == (0, 0)


def test_versions_and_markers(counter: Counter) -> None:
    counter.ask("PUT", "/bkt", ENABLED, versioning="")
    one, two = (counter.ask("PUT", "/bkt/a", data).headers["x-amz-version-id"] for data in (b"1", b"2"))
    (covered,) = told(delete(counter, "<Key>a</Key>"))
    marker = covered["DeleteMarkerVersionId"]
    assert covered == {"Key": "a", "DeleteMarker": "true", "DeleteMarkerVersionId": marker}
    answer = delete(counter, *(f"<Key>a</Key><VersionId>{version}</VersionId>" for version in (marker, two)))
    assert told(answer) == [
        {"Key": "a", "VersionId": marker, "DeleteMarker": "true", "DeleteMarkerVersionId": marker},
        {"Key": "a", "VersionId": two}]
    got = counter.ask("GET", "/bkt/a")
    assert (got.body, got.headers["x-amz-version-id"]) == (b"1", one)


def test_one_that_cannot_be_deleted_keeps_no_other_from_it(counter: Counter) -> None:
    for name in "ab":
        counter.ask("PUT", f"/bkt/{name}", b"x")
    answer = delete(counter, f"<Key>{'x' * 1025}</Key>", "<Key>a</Key><ETag>other</ETag>",
                    "<Key>none</Key><ETag>*</ETag>", "<Key>b</Key><VersionId>!</VersionId>", "<Key>b</Key>",
                    "<Key>a</Key><Size>1</Size>", quiet=True)
    assert [(each["Key"][:4], each["Code"]) for each in told(answer, "Error")] == [
        ("xxxx", "KeyTooLongError"), ("a", "PreconditionFailed"), ("none", "NoSuchKey"), ("b", "NoSuchVersion"),
        ("a", "NotImplemented")]
    assert [counter.ask("GET", f"/bkt/{name}").status for name in "ab"] == [200, 404]


def test_each_key_needs_its_permission(counter: Counter) -> None:
    for name in ("open/a", "shut"):
        counter.ask("PUT", f"/bkt/{name}", b"x")
    policy = (b'{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111111111111"},'
              b'"Action":"s3:DeleteObject","Resource":"arn:aws:s3:::bkt/open/*"}]}')
    assert counter.ask("PUT", "/bkt", policy, policy="").status == 204
    answer = delete(counter, "<Key>open/a</Key>", "<Key>shut</Key>",
                    "<Key>open/a</Key><VersionId>null</VersionId>", key="111111111111")
    assert (answer.status, told(answer)) == (200, [{"Key": "open/a"}])
    assert [(each["Key"], each["Code"]) for each in told(answer, "Error")] == [
        ("shut", "AccessDenied"), ("open/a", "AccessDenied")]
    assert counter.ask("GET", "/bkt/shut").status == 200


@pytest.mark.parametrize("objects", [[], ["<Key/>"], ["<VersionId>null</VersionId>"], ["<Key>x</Key>"] * 1001])
def test_what_is_no_list_of_objects(counter: Counter, objects: list[str]) -> None:
    assert delete(counter, *objects).code == "MalformedXML"


def test_a_checksum_is_demanded_and_checked(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/a", b"x")
    body = b"<Delete><Object><Key>a</Key></Object></Delete>"
    assert counter.ask("POST", "/bkt", body, delete="").code == "InvalidRequest"
    wrong = {"content-md5": base64.b64encode(hashlib.md5(b"").digest()).decode()}
    assert counter.ask("POST", "/bkt", body, headers=wrong, delete="").code == "BadDigest"
    assert counter.ask("GET", "/bkt/a").status == 200
    assert delete(counter, "<Key>a</Key>", bucket="nowhere").code == "NoSuchBucket"


def test_a_thousand_at_once(counter: Counter) -> None:
    for number in range(20):
        counter.ask("PUT", f"/bkt/{number}", b"x")
    answer = delete(counter, *(f"<Key>{number}</Key>" for number in range(1000)))
    assert (len(told(answer)), counter.rows("s3_version")) == (1000, 0)
