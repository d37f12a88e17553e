"""Checksums of objects and of what parts make together."""

import base64
import hashlib
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlet.kernel.digests import ALGORITHMS, COMBINE, digest_of
from cloudlet.kernel.errors import AwsError
from cloudlet.services.s3 import checksums


def sum_of(algorithm: str, data: bytes) -> str:
    return base64.b64encode(digest_of(algorithm, data)).decode()


@pytest.mark.parametrize("algorithm", COMBINE)
@given(parts=st.lists(st.binary(max_size=300), max_size=8))
@settings(max_examples=30)
def test_the_crc_of_parts_is_that_of_the_whole(algorithm: str, parts: list[bytes]) -> None:
    found = checksums.of_parts(algorithm, "FULL_OBJECT", [(digest_of(algorithm, part), len(part)) for part in parts])
    assert found == sum_of(algorithm, b"".join(parts))


def test_composites_are_checksums_of_checksums() -> None:
    parts = [b"a" * 10, b"b" * 20]
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    expected = base64.b64encode(hashlib.sha256(digests).digest()).decode() + "-2"
    sums = [(digest_of("sha256", part), len(part)) for part in parts]
    assert checksums.of_parts("sha256", "COMPOSITE", sums) == expected
    crcs = b"".join(zlib.crc32(part).to_bytes(4, "big") for part in parts)
    expected = base64.b64encode(zlib.crc32(crcs).to_bytes(4, "big")).decode() + "-2"
    sums = [(digest_of("crc32", part), len(part)) for part in parts]
    assert checksums.of_parts("crc32", "COMPOSITE", sums) == expected


@pytest.mark.parametrize(("algorithm", "kind", "expected"), [
    (None, None, ("", "FULL_OBJECT")), ("CRC64NVME", None, ("crc64nvme", "FULL_OBJECT")),
    ("CRC32", None, ("crc32", "COMPOSITE")), ("CRC32", "FULL_OBJECT", ("crc32", "FULL_OBJECT")),
    ("CRC32C", None, ("crc32c", "COMPOSITE")), ("SHA1", "COMPOSITE", ("sha1", "COMPOSITE")),
    ("SHA256", None, ("sha256", "COMPOSITE")), ("SHA256", "FULL_OBJECT", "FULL_OBJECT checksum type cannot be used"),
    ("CRC64NVME", "COMPOSITE", "COMPOSITE checksum type cannot be used with the crc64nvme"),
    (None, "COMPOSITE", "can only be used with the x-amz-checksum-algorithm"), ("CRC16", None, "unsupported"),
    ("CRC32", "HALF", "x-amz-checksum-type header is invalid")])
def test_what_an_upload_may_choose(algorithm: str | None, kind: str | None, expected: tuple[str, str] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(AwsError, match=expected) as refused:
            checksums.multipart_choice(algorithm, kind)
        assert refused.value.code == "InvalidRequest"
    else:
        assert checksums.multipart_choice(algorithm, kind) == expected


def test_each_algorithm_has_its_member() -> None:
    assert set(checksums.MEMBERS) == set(ALGORITHMS)
    assert checksums.said({"ChecksumSHA1": "x", "Key": "k"}) == {"sha1": "x"}
    assert checksums.of_part({"crc32c": "y"}) == {"ChecksumCRC32C": "y"}
