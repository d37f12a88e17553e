"""PutBucketEncryption, GetBucketEncryption, DeleteBucketEncryption."""

import base64
import hashlib

import pytest

from tests.services.s3.counter import Counter

KEY = b"k" * 32
CUSTOMER = {"x-amz-server-side-encryption-customer-algorithm": "AES256",
            "x-amz-server-side-encryption-customer-key": base64.b64encode(KEY).decode(),
            "x-amz-server-side-encryption-customer-key-md5": base64.b64encode(hashlib.md5(KEY).digest()).decode()}


def rule(inner: str) -> bytes:
    return (f"<ServerSideEncryptionConfiguration><Rule>{inner}</Rule></ServerSideEncryptionConfiguration>").encode()


def by_default(algorithm: str, more: str = "") -> str:
    return (f"<ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}</SSEAlgorithm>{more}"
            "</ApplyServerSideEncryptionByDefault>")


def test_a_bucket_has_a_default_that_nobody_set(counter: Counter) -> None:
    def said() -> tuple[str | None, str | None]:
        found = counter.ask("GET", "/bkt", encryption="").xml
        return (found.findtext("Rule/ApplyServerSideEncryptionByDefault/SSEAlgorithm"),
                found.findtext("Rule/BucketKeyEnabled"))
    assert said() == ("AES256", "false")
    body = rule(by_default("AES256") + "<BucketKeyEnabled>true</BucketKeyEnabled>")
    assert counter.ask("PUT", "/bkt", body, encryption="").status == 200
    assert said() == ("AES256", "true")
    assert counter.ask("DELETE", "/bkt", encryption="").status == 204
    assert said() == ("AES256", "false")


@pytest.mark.parametrize(("body", "code"), [
    (rule(by_default("aws:kms")), "InvalidRequest"), (rule(by_default("rot13")), "MalformedXML"),
    (rule(by_default("AES256", "<KMSMasterKeyID>k</KMSMasterKeyID>")), "InvalidArgument"),
    (b"<ServerSideEncryptionConfiguration></ServerSideEncryptionConfiguration>", "MalformedXML")])
def test_what_cannot_be_the_default(counter: Counter, body: bytes, code: str) -> None:
    assert counter.ask("PUT", "/bkt", body, encryption="").code == code


def test_keys_of_customers_may_be_blocked(counter: Counter) -> None:
    blocked = "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>"
    assert counter.ask("PUT", "/bkt/one", b"x", headers=CUSTOMER).status == 200
    begun = counter.ask("POST", "/bkt/parts", headers=CUSTOMER, uploads="")
    assert counter.ask("PUT", "/bkt", rule(by_default("AES256") + blocked), encryption="").status == 200
    refused = counter.ask("PUT", "/bkt/two", b"x", headers=CUSTOMER)
    assert (refused.code, refused.xml.findtext("Message")) == (
        "AccessDenied", 'User: arn:aws:iam::000000000000:root is not authorized to perform: s3:PutObject on resource:'
        ' "arn:aws:s3:::bkt/two" because this bucket has blocked upload requests that specify Server Side Encryption'
        " with Customer provided keys (SSE-C). Please specify a different server-side encryption type")
    part = {"partNumber": "1", "uploadId": begun.xml.findtext("UploadId")}
    assert counter.ask("PUT", "/bkt/parts", b"x", headers=CUSTOMER, **part).code == "AccessDenied"
    assert counter.ask("GET", "/bkt/one", headers=CUSTOMER).body == b"x"  # what is there stays readable
