"""Browsers' forms: their policies, what becomes of their fields, and forms that lie or never end."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config

from cloudlet.kernel.http import Body, Request, Response
from cloudlet.kernel.identity import Credential
from cloudlet.kernel.service import Service
from cloudlet.wire import s3_policies
from cloudlet.wire.gateway import Gateway
from tests.wire.exchange import HOST, KEY, ROOT, SECRET, FixedIdentities, ManualClock, gateway_of, text_of

BOUNDARY = "----WebKitFormBoundary7MA4YWxk"
FUTURE, PAST = "2199-01-01T00:00:00.000Z", "2007-12-01T12:00:00.000Z"
Fields = list[tuple[str, str]]


@pytest.fixture
def put() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def identities() -> FixedIdentities:
    return FixedIdentities(Credential(KEY, SECRET, ROOT), Credential("ASIA", "s3cret", ROOT, "token"),
                           public=["s3:PutObject"])


@pytest.fixture
def gateway(put: list[dict[str, Any]], identities: FixedIdentities, tmp_path: Any) -> Gateway:
    s3 = Service("s3")

    @s3.wait
    async def put_object(call: Any, store: Any, request: Any) -> Any:
        body = request.pop("Body")
        body.want("md5")
        request["size"] = 0
        async for piece in body:
            request["size"] += len(piece)
        put.append({**request, "who": call.principal.kind, "region": call.region})
        return {"ETag": f'"{body.digests["md5"].hex()}"', "VersionId": "1"}
    return gateway_of(s3, identities=identities, clock=ManualClock(), directory=tmp_path)


def form_of(fields: Fields, file: bytes | None = b"hello", *, filename: str = "a.txt",
            after: Fields | None = None) -> bytes:
    def part(name: str, value: bytes, more: str = "") -> bytes:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
        return head.encode() + value + b"\r\n"
    out = b"".join(part(name, value.encode()) for name, value in fields)
    if file is not None:
        out += part("file", file, f'; filename="{filename}"\r\nContent-Type: text/plain')
    out += b"".join(part(name, value.encode()) for name, value in after or ())
    return out + f"--{BOUNDARY}--\r\n".encode()


def request_of(body: bytes, path: str = "/bucket", *, step: int = 1000, length: int | None = None, host: str = HOST,
               content_type: str = f"multipart/form-data; boundary={BOUNDARY}") -> Request:
    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), step):
            yield body[at:at + step]
    return Request("POST", path, "", {"host": host, "content-type": content_type},
                   Body(chunks(), len(body) if length is None else length))


def policy_of(conditions: list[Any], expiration: str = FUTURE) -> str:
    return base64.b64encode(json.dumps({"expiration": expiration, "conditions": conditions}).encode()).decode()


def signed(conditions: list[Any], fields: Fields, policy: str | None = None) -> Fields:
    """Fields with a policy and its signature of version 2, which needs no more of them."""
    policy = policy or policy_of([{"bucket": "bucket"}, *conditions])
    signature = base64.b64encode(hmac.new(SECRET.encode(), policy.encode(), "sha1").digest()).decode()
    return [*fields, ("policy", policy), ("AWSAccessKeyId", KEY), ("signature", signature)]


def presigned(key: str, conditions: list[Any] | None = None, fields: dict[str, str] | None = None,
              **credentials: str) -> Fields:
    client = boto3.client("s3", endpoint_url=f"http://{HOST}", region_name="eu-west-1", aws_access_key_id=KEY,
                          aws_secret_access_key=SECRET, config=Config(signature_version="s3v4")) if not credentials \
        else boto3.client("s3", endpoint_url=f"http://{HOST}", region_name="eu-west-1", **credentials)
    made = client.generate_presigned_post("bucket", key, Fields=fields, Conditions=conditions)
    return list(made["fields"].items())


def answer(gateway: Gateway, request: Request) -> Response:
    return asyncio.run(gateway.handle(request))


def refusal(response: Response) -> tuple[int, str, str]:
    found = re.search(r"<Code>(.*?)</Code><Message>(.*?)</Message>", text_of(response))
    return (response.status, found[1], found[2]) if found else (response.status, "", "")


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_presigned_form_of_boto3(gateway: Gateway, put: list[dict[str, Any]], step: int) -> None:
    fields = presigned("up/${filename}", [{"acl": "private"}, ["content-length-range", 1, 10]], {"acl": "private"})
    response = answer(gateway, request_of(form_of(fields, filename="C:\\docs\\a b.txt"), step=step))
    assert (response.status, response.body) == (204, b"")
    assert response.headers["etag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    assert response.headers["location"] == f"http://{HOST}/bucket/up%2Fa%20b.txt"
    assert put == [{"Bucket": "bucket", "Key": "up/a b.txt", "ACL": "private", "size": 5, "who": "root",
                    "region": "eu-west-1"}]


def test_the_url_says_which_bucket_a_policy_is_about(gateway: Gateway, put: list[dict[str, Any]]) -> None:
    fields = [("bucket", "bucket"), *presigned("k")]
    assert answer(gateway, request_of(form_of(fields))).status == 204
    assert refusal(answer(gateway, request_of(form_of(fields), "/another")))[:2] == (403, "AccessDenied")
    assert [one["Bucket"] for one in put] == ["bucket"]


def test_temporary_credentials_need_their_token(gateway: Gateway) -> None:
    session = {"aws_access_key_id": "ASIA", "aws_secret_access_key": "s3cret"}
    good = presigned("k", aws_session_token="token", **session)
    assert answer(gateway, request_of(form_of(good))).status == 204
    assert refusal(answer(gateway, request_of(form_of(presigned("k", **session)))))[1] == "InvalidToken"


def test_all_fields_arrive(gateway: Gateway, put: list[dict[str, Any]]) -> None:
    tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>c&amp;d</Value></Tag></TagSet></Tagging>"
    crc = base64.b64encode((0x3610A686).to_bytes(4, "big")).decode()  # of "hello"
    said = {"Content-Type": "text/x", "Cache-Control": "no-cache", "Content-Disposition": "inline", "x-ignore-me": "x",
            "Content-Encoding": "gzip", "x-amz-meta-Colour": "réd", "x-amz-storage-class": "STANDARD_IA",
            "tagging": tags, "x-amz-checksum-crc32": crc, "x-amz-server-side-encryption": "AES256"}
    conditions = [{name: value} for name, value in said.items() if name != "x-ignore-me"]
    response = answer(gateway, request_of(form_of(
        signed([*conditions, {"key": "k"}], [("key", "k"), *said.items()]), after=[("submit", "Upload")])))
    assert response.status == 204, text_of(response)
    got = put[0]
    assert (got["ContentType"], got["CacheControl"], got["ContentDisposition"]) == ("text/x", "no-cache", "inline")
    assert (got["ContentEncoding"], got["Metadata"], got["Tagging"]) == ("gzip", {"colour": "réd"}, "a+b=c%26d")
    assert (got["StorageClass"], got["ServerSideEncryption"]) == ("STANDARD_IA", "AES256")
    wrong = [{"key": "k"}, {"x-amz-checksum-crc32": "AAAAAA=="}]
    fields = signed(wrong, [("key", "k"), ("x-amz-checksum-crc32", "AAAAAA==")])
    assert refusal(answer(gateway, request_of(form_of(fields))))[1] == "BadDigest"


def test_nobody_needs_no_policy_where_nothing_is_signed(gateway: Gateway, put: list[dict[str, Any]],
                                                        identities: FixedIdentities) -> None:
    host = "bucket.s3.localhost:4566"
    response = answer(gateway, request_of(form_of([("key", "k é")]), "/", host=host))
    assert (response.status, put[0]["who"], put[0]["Key"]) == (204, "anonymous", "k é")
    assert response.headers["location"] == f"http://{host}/k%20%C3%A9"
    assert identities.asked == [("s3:PutObject", ("*",))]
    identities.public.clear()
    response = answer(gateway, request_of(form_of([("key", "k")])))
    assert (refusal(response)[1], len(put)) == ("AccessDenied", 1)


@pytest.mark.parametrize(("status", "expected"), [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204)])
def test_the_status_of_success(gateway: Gateway, status: str, expected: int) -> None:
    response = answer(gateway, request_of(form_of([("key", "a&b"), ("success_action_status", status)])))
    assert response.status == expected
    if expected == 201:
        etag = hashlib.md5(b"hello").hexdigest()
        assert (f"<PostResponse><Location>http://{HOST}/bucket/a%26b</Location><Bucket>bucket</Bucket>"
                f'<Key>a&amp;b</Key><ETag>"{etag}"</ETag></PostResponse>') in text_of(response)
    else:
        assert response.body == b""


@pytest.mark.parametrize(("url", "prefix"), [("http://a.example/ok", "http://a.example/ok?"),
                                             ("https://a.example/ok?x=1", "https://a.example/ok?x=1&")])
def test_a_redirect_on_success(gateway: Gateway, url: str, prefix: str) -> None:
    response = answer(gateway, request_of(form_of([("key", "c/a b"), ("success_action_redirect", url)])))
    assert "&key=c%2Fa+b&etag=%22" in response.headers["location"]
    assert (response.status, response.headers["location"].startswith(prefix)) == (303, True)
    said = parse_qs(urlsplit(response.headers["location"]).query)
    assert (said["bucket"], said["key"]) == (["bucket"], ["c/a b"])
    assert said["etag"] == [f'"{hashlib.md5(b"hello").hexdigest()}"']
    odd = answer(gateway, request_of(form_of([("key", "k"), ("success_action_redirect", "javascript:alert(1)")])))
    assert odd.status == 204


UNMET = "Invalid according to Policy: Policy Condition failed: "
POLICIES: list[tuple[Any, Fields, int, str]] = [
    ([["starts-with", "$key", "a"]], [("key", "abc")], 204, ""),
    ([["starts-with", "$KEY", "a"]], [("Key", "abc")], 204, ""),
    ([["starts-with", "$key", ""]], [("key", "abc")], 204, ""),
    ([["eq", "$key", "a"]], [("key", "abc")], 403, UNMET + '["eq", "$key", "a"]'),
    ([["starts-with", "$key", "b"]], [("key", "abc")], 403, UNMET),
    ([{"key": "abc"}, {"acl": "private"}], [("key", "abc")], 403, UNMET),
    ([{"key": "abc"}], [("key", "abc"), ("acl", "private")], 403,
     "Invalid according to Policy: Extra input fields: acl"),
    ([["starts-with", "$Content-Type", "image/"], {"key": "k"}],
     [("key", "k"), ("Content-Type", "image/png, image/gif")], 204, ""),
    ([["starts-with", "$Content-Type", "image/"], {"key": "k"}],
     [("key", "k"), ("Content-Type", "image/png, text/html")], 403, UNMET),
    ([["content-length-range", 0, 4], {"key": "k"}], [("key", "k")], 400, "Your proposed upload exceeds"),
    ([["content-length-range", 6, 9], {"key": "k"}], [("key", "k")], 400, "Your proposed upload is smaller"),
    ([["content-length-range", "5", "5"], {"key": "k"}], [("key", "k")], 204, ""),
    ([["content-length-range", -1, 9], {"key": "k"}], [("key", "k")], 400,
     "Invalid Policy: Invalid content-length-range"),
    ([["content-length-range", 9], {"key": "k"}], [("key", "k")], 400, "Invalid Policy: Invalid content-length-range"),
    ([["like", "$key", "k"]], [("key", "k")], 400, "Invalid Policy: Invalid Condition: unknown operation 'like'."),
    ([["eq", "key", "a,b"]], [("key", "a,b")], 403, UNMET + '["eq", "key", "a,b"]'),
    ([["eq", "$key", 5]], [("key", "k")], 400, "Invalid Policy: Invalid eq"),
    ([["content-length-range", "few", "10"]], [("key", "k")], 403, UNMET + '["content-length-range", "few", "10"]'),
    ([{"key": "k", "acl": "x"}], [("key", "k")], 400, "Invalid Policy: Invalid Simple-Condition"),
    ([{"key": 5}], [("key", "k")], 400, "Invalid Policy: Invalid Simple-Condition"), ([[]], [("key", "k")], 400, ""),
    (["key"], [("key", "k")], 400, "Invalid Policy: Invalid condition test")]


@pytest.mark.parametrize(("conditions", "fields", "status", "message"), POLICIES)
def test_policies(gateway: Gateway, conditions: Any, fields: Fields, status: int, message: str) -> None:
    response = answer(gateway, request_of(form_of(signed(conditions, fields))))
    assert response.status == status, text_of(response)
    if status != 204:
        assert refusal(response)[2].replace("&quot;", '"').startswith(message)


@pytest.mark.parametrize(("document", "status", "message"), [
    ({"expiration": PAST, "conditions": []}, 403, "Invalid according to Policy: Policy expired."),
    ({"conditions": []}, 400, "Invalid Policy: Policy missing expiration."),
    ({"EXPIRATION": FUTURE, "conditions": []}, 400, "Invalid Policy: Policy missing expiration."),
    ({"expiration": FUTURE}, 400, "Invalid Policy: Policy missing conditions."),
    ({"expiration": "tomorrow", "conditions": []}, 400, "Invalid Policy: Invalid 'expiration' value: 'tomorrow'"),
    ({"expiration": 5, "conditions": []}, 400, "Invalid Policy: Invalid 'expiration' value: '5'"),
    ({"expiration": FUTURE, "conditions": {}}, 400, "Invalid Policy: Invalid 'conditions' value: must be a List."),
    ({"expiration": FUTURE, "conditions": [], "more": 1}, 400, "Invalid Policy: Unexpected: 'more'."),
    ([], 400, "Invalid Policy: Invalid JSON.")])
def test_documents(gateway: Gateway, document: Any, status: int, message: str) -> None:
    policy = base64.b64encode(json.dumps(document).encode()).decode()
    response = answer(gateway, request_of(form_of(signed([], [("key", "k")], policy))))
    assert (response.status, refusal(response)[2]) == (status, message)


@pytest.mark.parametrize("policy", ["%%%", base64.b64encode(b"{").decode(), base64.b64encode(b"\xff").decode(),
                                    base64.b64encode(b"[" * 100_00).decode()])
def test_policies_that_are_none(gateway: Gateway, policy: str) -> None:
    response = answer(gateway, request_of(form_of(signed([], [("key", "k")], policy))))
    assert refusal(response)[1] == "InvalidPolicyDocument"


def test_a_dollar_sign_may_be_escaped_as_json_does_not() -> None:
    text = f'{{"expiration": "{FUTURE}", "conditions": [["eq", "$key", "\\$5"], ["starts-with", "$acl", "\\\\$"]]}}'
    sizes = s3_policies.check(base64.b64encode(text.encode()).decode(), {"key": "$5", "acl": "\\$x"}, 0)
    assert sizes == s3_policies.Sizes()


def test_signatures(gateway: Gateway) -> None:
    wrong = [(name, "0" * 64 if name == "x-amz-signature" else value) for name, value in presigned("k")]
    response = answer(gateway, request_of(form_of(wrong)))
    assert refusal(response)[:2] == (403, "SignatureDoesNotMatch")
    assert "<StringToSign>" in text_of(response)
    stranger = [(name, "AKIANO" if name == "AWSAccessKeyId" else value) for name, value in signed([], [("key", "k")])]
    assert refusal(answer(gateway, request_of(form_of(stranger))))[1] == "InvalidAccessKeyId"
    other = [(name, "cg==" if name == "signature" else value) for name, value in signed([], [("key", "k")])]
    assert refusal(answer(gateway, request_of(form_of(other))))[1] == "SignatureDoesNotMatch"


@pytest.mark.parametrize("left_out", ["policy", "x-amz-signature", "x-amz-date", "x-amz-credential", "x-amz-algorithm"])
def test_a_signature_comes_whole(gateway: Gateway, put: list[dict[str, Any]], left_out: str) -> None:
    fields = [(name, value) for name, value in presigned("k") if name != left_out]
    status, code, message = refusal(answer(gateway, request_of(form_of(fields))))
    assert (status, code, put) == (400, "InvalidArgument", [])
    assert f"must contain a field named '{left_out.title() if left_out[0] == 'x' else left_out}'" in message


def test_a_policy_that_nobody_signed_is_nobody_s(gateway: Gateway, identities: FixedIdentities) -> None:
    fields = [("key", "k"), ("policy", policy_of([{"bucket": "bucket"}, {"key": "k"}]))]
    assert answer(gateway, request_of(form_of(fields))).status == 204
    identities.public.clear()
    assert refusal(answer(gateway, request_of(form_of(fields))))[:2] == (403, "AccessDenied")


def test_what_stands_for_the_file_s_name(gateway: Gateway, put: list[dict[str, Any]]) -> None:
    """Nothing does where it has none, and nothing changes where the form says nothing of one."""
    fields = [("key", "k-${filename}")]
    answer(gateway, request_of(form_of(fields, filename="")))
    answer(gateway, request_of(form_of(fields).replace(b'; filename="a.txt"', b"")))
    assert [each["Key"] for each in put] == ["k-", "k-${filename}"]


@pytest.mark.parametrize(("name", "value"), [
    ("x-amz-algorithm", "AWS4-HMAC-MD5"), ("x-amz-credential", "test/20260101/us-east-1/s3"),
    ("x-amz-credential", "test/20260101/us-east-1/sts/aws4_request"), ("x-amz-date", "yesterday")])
def test_signatures_that_cannot_be_right(gateway: Gateway, name: str, value: str) -> None:
    fields = [(known, value if known == name else said) for known, said in presigned("k")]
    assert answer(gateway, request_of(form_of(fields))).status == 400


BAD_FORMS: dict[str, tuple[Any, str]] = {
    "no key": (lambda: form_of([]), "InvalidArgument"),
    "an empty key": (lambda: form_of([("key", "")]), "InvalidArgument"),
    "the key after the file": (lambda: form_of([], after=[("key", "k")]), "InvalidArgument"),
    "no file": (lambda: form_of([("key", "k")], None), "InvalidArgument"),
    "two files": (lambda: form_of([("key", "k")], after=[("file", "x")]), "InvalidArgument"),
    "cut in the file": (lambda: form_of([("key", "k")])[:-60], "MalformedPOSTRequest"),
    "cut in a field": (lambda: form_of([("key", "k")])[:90], "MalformedPOSTRequest"),
    "no final boundary": (lambda: form_of([("key", "k")]).replace(b"--\r\n", b"\r\n"), "MalformedPOSTRequest"),
    "nothing": (lambda: b"", "MalformedPOSTRequest"), "no form": (lambda: b"hello" * 1000, "MalformedPOSTRequest"),
    "a part without a name": (lambda: form_of([("", "x")]), "MalformedPOSTRequest"),
    "a header without end": (lambda: b"--" + BOUNDARY.encode() + b"\r\nX: " + b"a" * 50_000, "MalformedPOSTRequest"),
    "too many fields": (lambda: form_of([(f"x-{n}", "") for n in range(200)]), "MaxPostPreDataLengthExceeded"),
    "a field too long": (lambda: form_of([("key", "k" * 21_000)]), "MaxPostPreDataLengthExceeded"),
    "tags that are none": (lambda: form_of([("key", "k"), ("tagging", "<a")]), "MalformedXML"),
    "much after the file": (lambda: form_of([("key", "k")], after=[("x", "x" * 100_000)]),
                            "MaxPostPreDataLengthExceeded")}


@pytest.mark.parametrize("case", BAD_FORMS)
@pytest.mark.parametrize("step", [13, 1_000_000])
def test_forms_gone_wrong(gateway: Gateway, put: list[dict[str, Any]], case: str, step: int) -> None:
    make, code = BAD_FORMS[case]
    response = answer(gateway, request_of(make(), step=step))
    assert (response.status, refusal(response)[1], put) == (400, code, [])


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=",
                                          "multipart/form-data; boundary=" + "x" * 1000])
def test_a_boundary_is_needed(gateway: Gateway, content_type: str) -> None:
    response = answer(gateway, request_of(form_of([("key", "k")]), content_type=content_type))
    assert refusal(response)[:2] == (400, "MalformedPOSTRequest")


def test_a_post_that_is_no_form(gateway: Gateway) -> None:
    response = answer(gateway, request_of(b"{}", content_type="application/json"))
    assert refusal(response)[:2] == (412, "PreconditionFailed")
    assert "enclosure-type multipart/form-data" in text_of(response)
    assert refusal(answer(gateway, request_of(form_of([("key", "k")]), "/bucket/key")))[1] == "MethodNotAllowed"


def test_what_is_announced_too_long_is_refused_before_it_comes(gateway: Gateway) -> None:
    head = form_of(signed([["content-length-range", 0, 100_000], {"key": "k"}], [("key", "k")]))[:-40]
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        yield head
        while True:
            read += 1
            yield bytes(65536)
    headers = {"host": HOST, "content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    response = answer(gateway, Request("POST", "/bucket", "", headers, Body(chunks(), 5 << 30)))
    assert (refusal(response)[:2], read) == ((400, "EntityTooLarge"), 0)
    response = answer(gateway, Request("POST", "/bucket", "", headers, Body(chunks(), None)))
    assert refusal(response)[:2] == (400, "EntityTooLarge")
    assert read < 40  # pieces are gathered before they are counted
