"""PutBucketInventoryConfiguration, GetBucketInventoryConfiguration, ListBucketInventoryConfigurations and
DeleteBucketInventoryConfiguration."""

import pytest

from cloudlet.services.s3.settings import bucket_inventory
from tests.services.s3.counter import Answer, Counter

PLAIN = "<Bucket>arn:aws:s3:::dst</Bucket><Format>CSV</Format>"


def wanted(name: str = "all", *, to: str = PLAIN, versions: str = "All", frequency: str = "Daily",
           enabled: str = "true", fields: tuple[str, ...] = (), more: str = "") -> bytes:
    asked = "".join(f"<Field>{field}</Field>" for field in fields)
    return (f"<InventoryConfiguration><Destination><S3BucketDestination>{to}</S3BucketDestination></Destination>"
            f"<IsEnabled>{enabled}</IsEnabled><Id>{name}</Id>"
            f"<IncludedObjectVersions>{versions}</IncludedObjectVersions>{more}"
            f"<OptionalFields>{asked}</OptionalFields><Schedule><Frequency>{frequency}</Frequency></Schedule>"
            "</InventoryConfiguration>").encode()


def put(counter: Counter, body: bytes, name: str = "all") -> Answer:
    return counter.ask("PUT", "/bkt", body, inventory="", id=name)


@pytest.fixture
def pair(counter: Counter) -> Counter:
    counter.ask("PUT", "/dst")
    return counter


def test_what_is_put_is_read_listed_and_taken_away(pair: Counter) -> None:
    to = ("<AccountId>000000000000</AccountId><Bucket>arn:aws:s3:::dst</Bucket><Format>CSV</Format><Prefix>p</Prefix>"
          "<Encryption><SSE-S3/></Encryption>")
    assert pair.ask("GET", "/bkt", inventory="", id="all").code == "NoSuchConfiguration"
    assert put(pair, wanted(to=to, fields=("Size", "ETag"), more="<Filter><Prefix>a/</Prefix></Filter>")).status == 204
    got = pair.ask("GET", "/bkt", inventory="", id="all").xml
    assert [got.findtext(path) for path in ("Id", "IsEnabled", "Filter/Prefix", "Schedule/Frequency")] == [
        "all", "true", "a/", "Daily"]
    assert [each.text for each in got.findall("OptionalFields/Field")] == ["Size", "ETag"]
    assert got.find("Destination/S3BucketDestination/Encryption/SSE-S3") is not None
    assert put(pair, wanted(enabled="false")).status == 204
    listed = pair.ask("GET", "/bkt", inventory="").xml
    assert [each.findtext("IsEnabled") for each in listed.findall("InventoryConfiguration")] == ["false"]
    assert pair.ask("DELETE", "/bkt", inventory="", id="all").status == 204
    assert pair.ask("DELETE", "/bkt", inventory="", id="all").code == "NoSuchConfiguration"
    assert not pair.ask("GET", "/bkt", inventory="").xml.findall("InventoryConfiguration")


def test_pages_and_the_limit(pair: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_inventory, "PAGE", 2)
    monkeypatch.setattr(bucket_inventory, "CONFIGURATIONS_MAX", 5)
    for name in "abcde":
        assert put(pair, wanted(name), name).status == 204
    assert put(pair, wanted("f"), "f").code == "TooManyConfigurations"
    assert put(pair, wanted("e", frequency="Weekly"), "e").status == 204
    found, more = [], dict[str, str]()
    while True:
        page = pair.ask("GET", "/bkt", inventory="", **more).xml
        found.append([each.findtext("Id") for each in page.findall("InventoryConfiguration")])
        if page.findtext("IsTruncated") == "false":
            break
        more = {"continuation_token": page.findtext("NextContinuationToken")}
    assert found == [["a", "b"], ["c", "d"], ["e"]]
    assert pair.ask("GET", "/bkt", inventory="", continuation_token="x").code == "InvalidArgument"
    pair.ask("DELETE", "/bkt")
    pair.ask("PUT", "/bkt")
    assert not pair.ask("GET", "/bkt", inventory="").xml.findall("InventoryConfiguration")


TO = "<Bucket>arn:aws:s3:::{}</Bucket><Format>{}</Format>{}"


@pytest.mark.parametrize(("body", "code"), [
    (wanted("other"), "IdMismatch"), (wanted(versions="Some"), "MalformedXML"),
    (wanted(frequency="Hourly"), "MalformedXML"), (wanted(to=TO.format("dst", "XML", "")), "MalformedXML"),
    (wanted(to=TO.format("dst", "ORC", "")), "NotImplemented"),
    (wanted(to=TO.format("dst", "CSV", "<Encryption><SSE-KMS><KeyId>k</KeyId></SSE-KMS></Encryption>")),
     "NotImplemented"),
    (wanted(fields=("ObjectAccessControlList",)), "NotImplemented"), (wanted(fields=("Colour",)), "MalformedXML"),
    (wanted(to=TO.format("none", "CSV", "")), "InvalidS3DestinationBucket"),
    (wanted(to=TO.format("far", "CSV", "")), "InvalidS3DestinationBucket"),
    (wanted(to=TO.format("dst", "CSV", "<AccountId>111111111111</AccountId>")), "InvalidS3DestinationBucket"),
    (wanted(to=TO.format("dst", "CSV", f"<Prefix>{'p' * 600}</Prefix>")), "InvalidArgument"),
    (wanted(to="<Bucket>dst</Bucket><Format>CSV</Format>"), "InvalidS3DestinationBucket"), (b"<a/>", "MalformedXML")])
def test_what_is_no_inventory(pair: Counter, body: bytes, code: str) -> None:
    pair.ask("PUT", "/far", b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint>"
             b"</CreateBucketConfiguration>")
    assert put(pair, body).code == code
    assert not pair.ask("GET", "/bkt", inventory="").xml.findall("InventoryConfiguration")


@pytest.mark.parametrize("name", ["a/b", "ü", "x" * 65])
def test_an_id_is_plain(pair: Counter, name: str) -> None:
    assert put(pair, wanted(name), name).code == "InvalidArgument"
