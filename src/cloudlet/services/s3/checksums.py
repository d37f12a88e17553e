"""Checksums of objects: which there are, which of them an object keeps, and as which members they are answered.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

import base64

from cloudlet.services.s3.contents import CRC64, Received
from cloudlet.services.s3.records import About

MEMBERS = {"crc32": "ChecksumCRC32", "crc32c": "ChecksumCRC32C", "crc64nvme": "ChecksumCRC64NVME",
           "sha1": "ChecksumSHA1", "sha256": "ChecksumSHA256", "sha512": "ChecksumSHA512", "md5": "ChecksumMD5",
           "xxhash64": "ChecksumXXHASH64", "xxhash3": "ChecksumXXHASH3", "xxhash128": "ChecksumXXHASH128"}


def checksums_of(received: Received) -> dict[str, str]:
    """What an object keeps: the checksum that its client sent, else CRC64NVME."""
    name = received.checksum or CRC64
    return {name: base64.b64encode(received.digests[name]).decode()}


def members(about: About) -> dict[str, str]:
    """An object's checksums as an answer has them."""
    found = {MEMBERS[name]: value for name, value in about.checksums.items() if name in MEMBERS}
    return {**found, "ChecksumType": about.checksum_type} if found else {}
