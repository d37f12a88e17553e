"""Browsers: preflights, headers for other origins; and what a bucket tells those whom it refuses."""

import asyncio

import pytest

from tests.services.s3.counter import Answer, Counter, document
from tests.wire.exchange import HOST, request_of

ORIGIN = "https://www.example.com"
RULE = (b"<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedMethod>PUT"
        b"</AllowedMethod><AllowedMethod>GET</AllowedMethod><AllowedHeader>*</AllowedHeader><ExposeHeader>ETag"
        b"</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>")


def preflight(counter: Counter, path: str, host: str = HOST, **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()} | {"host": host}
    return asyncio.run(counter.answer(request_of("OPTIONS", f"http://{host}{path}", given)))


ASKED = {"origin": ORIGIN, "access_control_request_method": "PUT", "access_control_request_headers": "X-Amz-Acl, a"}


@pytest.mark.parametrize(("path", "host"), [("/bkt/key", HOST), ("/bkt", HOST), ("/key", "bkt.s3.localhost:4566")])
def test_a_preflight_is_answered_by_the_rules(counter: Counter, path: str, host: str) -> None:
    counter.ask("PUT", "/bkt", RULE, cors="")
    answer = preflight(counter, path, host, **ASKED)
    assert (answer.status, answer.body) == (200, b"")
    assert {name: value for name, value in answer.headers.items() if name.startswith("access-control-")} == {
        "access-control-allow-origin": ORIGIN, "access-control-allow-methods": "PUT, GET",
        "access-control-allow-headers": "x-amz-acl, a", "access-control-expose-headers": "ETag",
        "access-control-max-age": "60", "access-control-allow-credentials": "true"}
    assert answer.headers["vary"] == "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
    assert answer.headers["x-amz-id-2"].startswith(answer.headers["x-amz-request-id"])


@pytest.mark.parametrize(("change", "code"), [
    ({"origin": ""}, "BadRequest"), ({"access_control_request_method": "TRACE"}, "BadRequest"),
    ({"origin": "https://example.org"}, "AccessForbidden"),
    ({"access_control_request_method": "DELETE"}, "AccessForbidden")])
def test_a_preflight_that_no_rule_allows(counter: Counter, change: dict[str, str], code: str) -> None:
    counter.ask("PUT", "/bkt", RULE, cors="")
    answer = preflight(counter, "/bkt/key", **ASKED | change)
    assert answer.code == code and "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(("path", "says"), [
    ("/bkt/key", "CORS is not enabled for this bucket."), ("/bkt", "CORS is not enabled for this bucket."),
    ("/missing/key", "Bucket not found"), ("/", "Bucket not found")])
@pytest.mark.parametrize("method", ["PUT", ""])
def test_a_preflight_where_there_are_no_rules(counter: Counter, path: str, says: str, method: str) -> None:
    answer = preflight(counter, path, origin=ORIGIN, **({"access_control_request_method": method} if method else {}))
    assert (answer.status, answer.code) == (403, "AccessForbidden")
    assert [answer.xml.findtext(name) for name in ("Message", "Method", "ResourceType")] == [
        f"CORSResponse: {says}", method or "OPTIONS", "BUCKET"]


def test_a_preflight_says_which_method_will_follow(counter: Counter) -> None:
    counter.ask("PUT", "/bkt", RULE, cors="")
    assert preflight(counter, "/bkt/key", origin=ORIGIN).code == "BadRequest"


def test_what_a_request_says_of_others_counts(counter: Counter) -> None:
    counter.ask("PUT", "/bkt", RULE.replace(b">*</AllowedHeader>", b">x-amz-*</AllowedHeader>"), cors="")
    for name, value, allowed in (("method", "PUT", ORIGIN), ("method", "DELETE", None),
                                 ("headers", "X-Amz-Acl", ORIGIN), ("headers", "x-amz-acl, content-type", None)):
        answer = counter.ask("GET", "/bkt/key", headers={"origin": ORIGIN, f"access-control-request-{name}": value})
        assert answer.headers.get("access-control-allow-origin") == allowed, (name, value)


def test_actual_requests_are_answered_with_headers_for_the_browser(counter: Counter) -> None:
    counter.ask("PUT", "/bkt", RULE, cors="")
    for method, path, origin, allowed in (
            ("PUT", "/bkt/key", ORIGIN, ORIGIN), ("GET", "/bkt/key", ORIGIN, ORIGIN),
            ("GET", "/bkt/none", ORIGIN, ORIGIN),
            ("GET", "/bkt/key", "https://example.org", None), ("DELETE", "/bkt/key", ORIGIN, None)):
        answer = counter.ask(method, path, headers={"origin": origin})
        assert answer.headers.get("access-control-allow-origin") == allowed, (method, path)
    assert "vary" not in counter.ask("GET", "/bkt/key").headers


def test_whoever_may_not_see_a_bucket_may_know_where_it_is(counter: Counter) -> None:
    for who in ("", "111111111111"):
        answer = counter.ask("HEAD", "/bkt", key=who)
        assert (answer.status, answer.headers["x-amz-bucket-region"]) == (403, "us-east-1")
    assert "x-amz-bucket-region" not in counter.ask("HEAD", "/missing", key="").headers


def test_who_pays_is_told_so(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    let_in = document({"Principal": {"AWS": "111111111111"}, "Resource": "arn:aws:s3:::bkt/*"})
    counter.ask("PUT", "/bkt", let_in.encode(), policy="")
    pays = {"x-amz-request-payer": "requester"}
    assert "x-amz-request-charged" not in counter.ask("GET", "/bkt/key", headers=pays).headers
    counter.ask("PUT", "/bkt", b"<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>",
                requestPayment="")
    answer = counter.ask("GET", "/bkt/key", key="111111111111", headers=pays)
    assert (answer.body, answer.headers["x-amz-request-charged"]) == (b"data", "requester")


def test_what_is_for_s3_control_is_no_object(counter: Counter) -> None:
    answer = counter.ask("GET", "/v20180820/configuration/publicAccessBlock",
                         headers={"x-amz-account-id": "000000000000"})
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert counter.ask("GET", "/v20180820/key").code == "NoSuchBucket"


def test_errors_say_what_was_wrong_and_nothing_where_there_is_no_sentence(counter: Counter) -> None:
    for digest in ("no base64", "MTIz"):
        refused = counter.ask("PUT", "/bkt/key", b"x", headers={"content-md5": digest})
        assert (refused.code, refused.xml.findtext("Content-MD5")) == ("InvalidDigest", digest)
    refused = counter.ask("PUT", "/bkt/key", b"x", headers={"x-amz-acl": "fake-acl"})
    assert (refused.code, refused.xml.findtext("Message"), refused.xml.findtext("ArgumentValue")) == (
        "InvalidArgument", "", "fake-acl")
