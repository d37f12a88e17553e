"""PutBucketCors, GetBucketCors, DeleteBucketCors, and which rule a browser's request meets."""

from typing import Any

import pytest

from cloudlet.services.s3.settings.cors import Asked, answer
from tests.services.s3.counter import Counter

RULE = ("<CORSRule><AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
        "<AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader>"
        "<MaxAgeSeconds>300</MaxAgeSeconds></CORSRule>")


def cors(*rules: str) -> bytes:
    return f"<CORSConfiguration>{''.join(rules)}</CORSConfiguration>".encode()


def test_rules_come_back_and_go(counter: Counter) -> None:
    assert counter.ask("GET", "/bkt", cors="").code == "NoSuchCORSConfiguration"
    assert counter.ask("PUT", "/bkt", cors(RULE), cors="").status == 200
    rule = counter.ask("GET", "/bkt", cors="").xml.find("CORSRule")
    assert [each.text for each in rule.findall("AllowedMethod")] == ["GET", "PUT"]
    assert counter.ask("DELETE", "/bkt", cors="").status == 204
    assert counter.ask("GET", "/bkt", cors="").code == "NoSuchCORSConfiguration"


@pytest.mark.parametrize(("rules", "code"), [
    ([], "MalformedXML"), ([RULE] * 101, "MalformedXML"), (["<CORSRule></CORSRule>"], "MalformedXML"),
    ([RULE.replace("PUT", "PATCH")], "InvalidRequest"), ([RULE.replace("*.", "*.*.")], "InvalidRequest"),
    ([RULE.replace("x-amz-*", "*-*")], "InvalidRequest"), ([RULE.replace("ETag", "x-*")], "InvalidRequest"),
    ([RULE.replace("ETag", "ü")], "InvalidRequest"), ([RULE.replace("ETag", "E Tag")], "InvalidRequest"),
    ([RULE.replace("x-amz-*", "a(b)")], "InvalidRequest")])
def test_what_are_no_rules(counter: Counter, rules: list[str], code: str) -> None:
    assert counter.ask("PUT", "/bkt", cors(*rules), cors="").code == code
    assert counter.ask("GET", "/bkt", cors="").code == "NoSuchCORSConfiguration"


RULES: list[dict[str, Any]] = [
    {"AllowedOrigins": ["https://*.example.com", "http://a"], "AllowedMethods": ["GET", "PUT"],
     "AllowedHeaders": ["x-amz-*"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 300},
    {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}]


@pytest.mark.parametrize(("asked", "origin"), [
    (Asked("https://www.example.com", "PUT"), "https://www.example.com"), (Asked("http://a", "GET"), "http://a"),
    (Asked("https://www.example.com", "GET", ("x-amz-acl",)), "https://www.example.com"),
    (Asked("https://www.example.org", "GET"), "*"), (Asked("https://example.com", "GET"), "*"),
    (Asked("https://www.example.com", "GET", ("other",)), None), (Asked("http://b", "PUT"), None),
    (Asked("http://a", "DELETE"), None)])
def test_the_first_rule_that_fits_answers(asked: Asked, origin: str | None) -> None:
    found = answer(RULES, asked, preflight=True)
    assert (found or {}).get("access-control-allow-origin") == origin
    if origin not in (None, "*"):
        assert found is not None and (found["access-control-max-age"], found["access-control-expose-headers"],
                                      found["access-control-allow-credentials"]) == ("300", "ETag", "true")
    if origin == "*":
        assert "access-control-allow-credentials" not in (found or {})
