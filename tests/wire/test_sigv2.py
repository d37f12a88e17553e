"""What version 2 signed is verified as botocore signs it, in headers, links and both ways to name a bucket."""

import asyncio
import re
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.identity import Credential
from cloudlet.kernel.service import Service
from cloudlet.wire.gateway import Gateway
from tests.wire.exchange import (
    HOST,
    KEY,
    ROOT,
    SECRET,
    FixedIdentities,
    ManualClock,
    gateway_of,
    request_of,
    signed,
    text_of,
)

NOW = 1_800_000_000.0
URL = f"http://{HOST}/bucket/key"
TEMPORARY = Credential("temporary", SECRET, ROOT, token="token/+=", expires=NOW + 1000)


@pytest.fixture
def clock() -> ManualClock:
    clock = ManualClock()
    clock.at = NOW
    return clock


@pytest.fixture
def gateway(clock: ManualClock, tmp_path: Path) -> Gateway:
    s3 = Service("s3")

    @s3.wait
    async def get_object(call: Any, store: Any, request: Any) -> Any:
        return {"Body": f"{request['Bucket']}|{request['Key']}|{call.access_key_id}".encode(),
                "ContentType": request.get("ResponseContentType", "text/plain")}

    @s3.wait
    async def put_object(call: Any, store: Any, request: Any) -> Any:
        await request["Body"].read(1_000_000)
        return {"VersionId": repr(sorted((request.get("Metadata") or {}).items()))}

    @s3.read
    def list_objects(call: Any, tx: Any, request: Any) -> Any:
        return {"Name": request["Bucket"], "Prefix": str(call.names_region)}
    identities = FixedIdentities(Credential(KEY, SECRET, ROOT), TEMPORARY)
    return gateway_of(s3, clock=clock, directory=tmp_path, identities=identities)


def by_header(url: str = URL, *, method: str = "GET", at: float = NOW, secret: str = SECRET, key: str = KEY,
              token: str | None = None, auth_path: str | None = None, **headers: str) -> Request:
    request = AWSRequest(method, url, headers={name.replace("_", "-"): value for name, value in headers.items()},
                         auth_path=auth_path)
    signer = HmacV1Auth(Credentials(key, secret, token))
    signer._get_date = lambda: formatdate(at, usegmt=True)
    signer.add_auth(request)
    return request_of(method, url, dict(request.headers.items()))


def by_query(url: str = URL, *, method: str = "GET", expires: str = str(int(NOW) + 60), secret: str = SECRET,
             key: str = KEY, token: str | None = None, auth_path: str | None = None,
             sent: dict[str, str] | None = None, **headers: str) -> Request:
    request = AWSRequest(method, url, headers={name.replace("_", "-"): value for name, value in headers.items()},
                         auth_path=auth_path)
    signer = HmacV1QueryAuth(Credentials(key, secret, token))
    signer._get_date = lambda: expires
    signer.add_auth(request)
    return request_of(method, request.url, sent or {})


def answer(gateway: Gateway, request: Request) -> Response:
    return asyncio.run(gateway.handle(request))


def said(response: Response, element: str = "Code") -> str:
    found = re.search(f"<{element}>(.*?)</{element}>", text_of(response), re.DOTALL)
    return found[1] if found else ""


def edited(request: Request, old: str, new: str) -> Request:
    assert old in request.query, request.query
    return Request(request.method, request.path, request.query.replace(old, new), request.headers, request.body)


@pytest.mark.parametrize("sign", [by_header, by_query])
@pytest.mark.parametrize("key", ["key", "a b+c%/é//=&?.txt", "a~b(c)"])
def test_any_key_by_path_and_by_host(gateway: Gateway, sign: Any, key: str) -> None:
    path = quote(key, safe="/~")
    assert answer(gateway, sign(f"http://{HOST}/bucket/{path}")).body == f"bucket|{key}|{KEY}".encode()
    virtual = sign(f"http://bucket.s3.{HOST}/{path}", auth_path=f"/bucket/{path}")
    there = Request("GET", virtual.path, virtual.query, {**virtual.headers, "host": f"bucket.s3.{HOST}"}, virtual.body)
    assert answer(gateway, there).body == f"bucket|{key}|{KEY}".encode()
    elsewhere = Request("GET", there.path, there.query, {**there.headers, "host": f"other.s3.{HOST}"}, there.body)
    assert said(answer(gateway, elsewhere)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("sign", [by_header, by_query])
@pytest.mark.parametrize("signed_path", ["/bucket", "/bucket/"])
def test_a_bucket_alone_may_be_signed_with_a_slash(gateway: Gateway, sign: Any, signed_path: str) -> None:
    response = answer(gateway, sign(f"http://{HOST}/bucket", auth_path=signed_path))
    assert (said(response, "Name"), said(response, "Prefix")) == ("bucket", "False")
    assert said(answer(gateway, sign(f"http://{HOST}/bucket", auth_path="/other/"))) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("sign", [by_header, by_query])
def test_what_asks_for_more_is_signed_with_it(gateway: Gateway, sign: Any) -> None:
    request = sign(f"{URL}?response-content-type=image%2Fpng&x-id=GetObject")
    assert answer(gateway, request).headers["content-type"] == "image/png"
    assert said(answer(gateway, edited(request, "image%2Fpng", "text%2Fhtml"))) == "SignatureDoesNotMatch"


def test_headers_that_are_sent_must_be_those_that_were_signed(gateway: Gateway) -> None:
    request = by_header(method="PUT", x_amz_meta_a="b", Content_Type="text/x", Content_MD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    assert answer(gateway, request).headers["x-amz-version-id"] == "[('a', 'b')]"
    for name, value in (("x-amz-meta-a", "c"), ("x-amz-meta-b", ""), ("content-type", "text/y"), ("date", "")):
        other = Request("PUT", request.path, request.query, {**request.headers, name: value}, request.body)
        assert answer(gateway, other).status == 403
    link = by_query(method="PUT", Content_Type="text/x", sent={"content-type": "text/x"})
    assert answer(gateway, link).status == 200
    assert said(answer(gateway, by_query(method="PUT", Content_Type="text/x"))) == "SignatureDoesNotMatch"


def test_headers_may_stand_in_the_link(gateway: Gateway) -> None:
    link = by_query(method="PUT", x_amz_meta_a="b c")
    assert "x-amz-meta-a=b%20c" in link.query
    assert answer(gateway, link).headers["x-amz-version-id"] == "[('a', 'b c')]"
    assert said(answer(gateway, edited(link, "b%20c", "d"))) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("sign", [by_header, by_query])
def test_a_session_needs_its_token(gateway: Gateway, sign: Any) -> None:
    good = sign(key="temporary", token=TEMPORARY.token)
    assert answer(gateway, good).status == 200
    assert answer(gateway, sign(key="temporary")).status == 400
    assert answer(gateway, sign(key="temporary", token="another")).status == 400


@pytest.mark.parametrize("sign", [by_header, by_query])
def test_strangers_and_other_secrets_are_refused(gateway: Gateway, sign: Any) -> None:
    assert said(answer(gateway, sign(key="AKIANO"))) == "InvalidAccessKeyId"
    response = answer(gateway, sign(secret="wrong"))
    assert (response.status, said(response)) == (403, "SignatureDoesNotMatch")
    assert said(response, "StringToSign").endswith("\n/bucket/key")
    other = sign()
    assert said(answer(gateway, Request("PUT", other.path, other.query, other.headers, other.body))) == (
        "SignatureDoesNotMatch")


def test_a_link_ends_when_it_says(gateway: Gateway, clock: ManualClock) -> None:
    link = by_query()
    clock.at = NOW + 59.9
    assert answer(gateway, link).status == 200
    clock.at = NOW + 60
    response = answer(gateway, link)
    assert (response.status, said(response), said(response, "Message")) == (403, "AccessDenied", "Request has expired")
    clock.at = NOW
    assert said(answer(gateway, edited(link, str(int(NOW) + 60), str(int(NOW) + 61)))) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(("old", "new", "message"), [
    ("Expires=", "expires=", "Query-string authentication requires the Signature, Expires and AWSAccessKeyId"),
    ("Signature=", "signature=", "Query-string authentication requires the Signature, Expires and AWSAccessKeyId"),
    ("AWSAccessKeyId=", "Key=", "Query-string authentication requires the Signature, Expires and AWSAccessKeyId"),
    ("Expires=1800000060", "Expires=soon", "Invalid date (should be seconds since epoch): soon"),
    ("Expires=1800000060", "Expires=" + "9" * 400, "Invalid date (should be seconds since epoch): 9999")])
def test_links_that_cannot_be_right(gateway: Gateway, old: str, new: str, message: str) -> None:
    response = answer(gateway, edited(by_query(), old, new))
    assert (response.status, said(response)) == (403, "AccessDenied")
    assert said(response, "Message").startswith(message)


@pytest.mark.parametrize(("headers", "code"), [
    ({"authorization": "AWS test"}, "InvalidArgument"), ({"authorization": "AWS :c2ln"}, "InvalidArgument"),
    ({"authorization": "AWS "}, "InvalidArgument"), ({"date": ""}, "AccessDenied"), ({"date": "soon"}, "AccessDenied"),
    ({"date": formatdate(NOW - 1000, usegmt=True)}, "RequestTimeTooSkewed"),
    ({"x-amz-date": "20010101T000000Z"}, "RequestTimeTooSkewed"),
    ({"x-amz-date": "", "date": formatdate(NOW, usegmt=True)}, "AccessDenied")])
def test_headers_that_cannot_be_right(gateway: Gateway, headers: dict[str, str], code: str) -> None:
    good = by_header()
    assert answer(gateway, good).status == 200
    assert said(answer(gateway, Request("GET", good.path, "", {**good.headers, **headers}, good.body))) == code


def test_only_one_mechanism_counts(gateway: Gateway) -> None:
    both, newer = by_query(), signed("s3", method="GET", url=URL)
    for headers in (by_header().headers, newer.headers):
        response = answer(gateway, Request("GET", both.path, both.query, headers, both.body))
        assert said(response, "Message").startswith("Only one auth mechanism allowed")


def test_no_other_service_takes_it(tmp_path: Path, clock: ManualClock) -> None:
    ecs, asked = Service("ecs"), []

    @ecs.read
    def list_clusters(call: Any, tx: Any, request: Any) -> Any:
        asked.append(call)
        return {}
    request = by_header(f"http://{HOST}/", method="POST",
                        X_Amz_Target="AmazonEC2ContainerServiceV20141113.ListClusters")
    assert answer(gateway_of(ecs, clock=clock, directory=tmp_path), request).status >= 400
    assert not asked
