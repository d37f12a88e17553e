"""GetObjectAttributes."""

from typing import Any

from tests.services.s3.counter import Counter
from tests.services.s3.test_uploads import BIG, begin, complete, send, sent, sum_of


def test_attributes(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"123456789")

    def attributes(*wanted: str) -> Any:
        return counter.ask("GET", "/bkt/key", attributes="", headers={"x-amz-object-attributes": ",".join(wanted)})
    found = attributes("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize").xml
    assert found.tag == "GetObjectAttributesResponse"
    assert found.findtext("ETag") == "25f9e794323b453885f5181f1b624d0b"
    assert (found.findtext("StorageClass"), found.findtext("ObjectSize")) == ("STANDARD", "9")
    assert found.findtext("Checksum/ChecksumCRC64NVME") == "rosUhgp5mIg="
    assert found.findtext("Checksum/ChecksumType") == "FULL_OBJECT"
    assert found.find("ObjectParts") is None
    assert [child.tag for child in attributes("ObjectSize").xml] == ["ObjectSize"]
    assert attributes("Colour").xml.findtext("Message") == "Invalid attribute name specified."
    missing = counter.ask("GET", "/bkt/key", attributes="")
    assert (missing.code, missing.xml.findtext("Message")) == (
        "InvalidRequest", "The x-amz-object-attributes header specifying the attributes to be retrieved is either"
        " missing or empty")


def test_pages_of_an_object_s_parts(counter: Counter) -> None:
    def told(**asked: str) -> Any:
        headers = {f"x-amz-{name.replace('_', '-')}": value for name, value in asked.items()}
        return counter.ask("GET", "/bkt/key", attributes="", headers=headers | {
            "x-amz-object-attributes": "ObjectParts"}).xml.find("ObjectParts")

    def page(**asked: str) -> tuple[list[str], str, str, str]:
        found = told(**asked)
        return ([each.findtext("PartNumber") for each in found.findall("Part")], found.findtext("IsTruncated"),
                found.findtext("NextPartNumberMarker"), found.findtext("PartsCount"))
    digest = {"x-amz-checksum-sha256": sum_of("sha256", BIG)}
    upload = begin(counter, headers={"x-amz-checksum-algorithm": "SHA256"})
    complete(counter, upload, [(number, send(counter, upload, number, BIG, headers=digest).headers["etag"],
                                f"<ChecksumSHA256>{sum_of('sha256', BIG)}</ChecksumSHA256>") for number in (1, 2, 5)])
    assert page(max_parts="2") == (["1", "2"], "true", "2", "3")
    assert page(max_parts="2", part_number_marker="2") == (["5"], "false", "5", "3")
    assert page(part_number_marker="5") == page(max_parts="0") == ([], "false", "0", "3")
    upload = begin(counter)  # of which no checksums were chosen: only their number is told
    complete(counter, upload, sent(counter, upload, BIG, b"end"))
    assert [child.tag for child in told(max_parts="1")] == ["PartsCount"]
