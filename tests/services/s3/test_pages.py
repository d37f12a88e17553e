"""Websites: PutBucketWebsite, GetBucketWebsite, DeleteBucketWebsite, and what browsers get."""

import asyncio
from typing import Any

import pytest

from tests.services.s3.counter import Answer, Counter, document
from tests.wire.exchange import request_of

SITE = "bkt.s3-website-us-east-1.localhost:4566"
INDEX = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>"
ERROR = "<ErrorDocument><Key>error.html</Key></ErrorDocument>"


def website(*parts: str) -> bytes:
    return f"<WebsiteConfiguration>{''.join(parts)}</WebsiteConfiguration>".encode()


def rules(*each: str) -> str:
    return f"<RoutingRules>{''.join(f'<RoutingRule>{rule}</RoutingRule>' for rule in each)}</RoutingRules>"


def browse(counter: Counter, path: str, *, method: str = "GET", host: str = SITE, **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()} | {"host": host}
    return asyncio.run(counter.answer(request_of(method, f"http://{host}{path}", given)))


@pytest.fixture
def site(counter: Counter) -> Counter:
    """A public website of a few pages."""
    counter.ask("DELETE", "/bkt", publicAccessBlock="")
    counter.ask("PUT", "/bkt", document({"Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bkt/*"},
                                        {"Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bkt"}
                                        ).encode(), policy="")
    for key in ("index.html", "docs/index.html", "page", "error.html", "a b/ü"):
        counter.ask("PUT", f"/bkt/{key}", key.encode(), headers={"content-type": "text/html"})
    assert counter.ask("PUT", "/bkt", website(INDEX), website="").status == 200
    return counter


def test_a_website_is_put_read_and_deleted(counter: Counter) -> None:
    assert counter.ask("GET", "/bkt", website="").code == "NoSuchWebsiteConfiguration"
    said = website(INDEX, ERROR, rules("<Condition><KeyPrefixEquals>x</KeyPrefixEquals></Condition>"
                                       "<Redirect><HostName>h</HostName></Redirect>"))
    assert counter.ask("PUT", "/bkt", said, website="").status == 200
    found = counter.ask("GET", "/bkt", website="").xml
    assert [found.findtext(path) for path in ("IndexDocument/Suffix", "ErrorDocument/Key",
                                              "RoutingRules/RoutingRule/Redirect/HostName")] == [
        "index.html", "error.html", "h"]
    assert counter.ask("DELETE", "/bkt", website="").status == 204
    answer = browse(counter, "/")
    assert (answer.status, b"Code: NoSuchWebsiteConfiguration" in answer.body) == (404, True)


@pytest.mark.parametrize(("said", "code"), [
    (website(), "InvalidArgument"), (website("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>"), "InvalidArgument"),
    (website("<IndexDocument><Suffix></Suffix></IndexDocument>"), "InvalidArgument"),
    (website("<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>", INDEX), "InvalidArgument"),
    (website(INDEX, rules("<Condition></Condition><Redirect><HostName>h</HostName></Redirect>")), "InvalidRequest"),
    (website("<RedirectAllRequestsTo></RedirectAllRequestsTo>"), "MalformedXML"),
    (website(INDEX, rules("<Redirect></Redirect>")), "MalformedXML"),
    (website(INDEX, rules("<Redirect><HostName>ü</HostName></Redirect>")), "InvalidRequest"),
    (website("<RedirectAllRequestsTo><HostName>a b</HostName></RedirectAllRequestsTo>"), "InvalidRequest"),
    (website(INDEX, rules("<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith>"
                          "</Redirect>")), "InvalidRequest"),
    (website("<RedirectAllRequestsTo><HostName>h</HostName><Protocol>ftp</Protocol></RedirectAllRequestsTo>"),
     "InvalidRequest"),
    (website(INDEX, rules("<Redirect><Protocol>ftp</Protocol></Redirect>")), "InvalidRequest"),
    (website(INDEX, "<ErrorDocument><Key></Key></ErrorDocument>"), "InvalidArgument"),
    *((website(INDEX, rules(f"<Redirect><HttpRedirectCode>{code}</HttpRedirectCode></Redirect>")), says)
      for code, says in (("200", "InvalidRequest"), ("300", "InvalidRequest"), ("306", "InvalidRequest"),
                         ("399", "InvalidRequest"), ("3xx", "MalformedXML"))),
    *((website(INDEX, rules(f"<Condition><HttpErrorCodeReturnedEquals>{code}</HttpErrorCodeReturnedEquals></Condition>"
                            "<Redirect><HostName>h</HostName></Redirect>")), says)
      for code, says in (("200", "InvalidRequest"), ("418", "InvalidRequest"), ("506", "InvalidRequest"),
                         ("4xx", "MalformedXML"))),
    (website(INDEX, rules(*["<Redirect><HostName>h</HostName></Redirect>"] * 51)), "InvalidRequest")])
def test_what_is_no_website(counter: Counter, said: bytes, code: str) -> None:
    assert counter.ask("PUT", "/bkt", said, website="").code == code
    assert counter.ask("GET", "/bkt", website="").code == "NoSuchWebsiteConfiguration"


@pytest.mark.parametrize(("path", "key"), [
    ("/", "index.html"), ("/docs/", "docs/index.html"), ("/page", "page"), ("/page?x=1", "page"),
    ("/a%20b/%C3%BC", "a b/ü")])
def test_pages(site: Counter, path: str, key: str) -> None:
    answer = browse(site, path)
    assert (answer.status, answer.body.decode(), answer.headers["content-type"]) == (200, key, "text/html")
    head = browse(site, path, method="HEAD")
    assert (head.status, head.headers["etag"]) == (200, answer.headers["etag"])
    assert browse(site, path, if_none_match=answer.headers["etag"]).status == 304


def test_hosts(site: Counter) -> None:
    for host in ("bkt.s3-website.us-east-1.localhost", "bkt.s3-website-us-east-1.amazonaws.com"):
        assert browse(site, "/", host=host).body == b"index.html"
    assert browse(site, "/bkt/page", host="s3-website-us-east-1.localhost").body == b"page"
    missing = browse(site, "/", host="missing.s3-website-us-east-1.localhost")
    assert (missing.status, b"<li>BucketName: missing</li>" in missing.body) == (404, True)


def test_a_folder_gets_its_slash_and_an_object_its_redirection(site: Counter) -> None:
    answer = browse(site, "/docs")
    assert (answer.status, answer.headers["location"]) == (302, "/docs/")
    site.ask("PUT", "/bkt/old", headers={"x-amz-website-redirect-location": "/page"})
    answer = browse(site, "/old")
    assert (answer.status, answer.headers["location"]) == (301, "/page")


def test_errors_are_pages(site: Counter) -> None:
    answer = browse(site, "/none")
    assert (answer.status, answer.headers["x-amz-error-code"]) == (404, "NoSuchKey")
    assert answer.headers["content-type"].startswith("text/html")
    assert b"<li>Key: none</li>" in answer.body and b"<li>Key: no/index.html</li>" in browse(site, "/no/").body
    assert f"<li>RequestId: {answer.headers['x-amz-request-id']}</li>".encode() in answer.body
    escaped = browse(site, "/%3Cscript%3E").body
    assert b"&lt;script&gt;" in escaped and b"<script>" not in escaped
    refused = browse(site, "/page", method="POST")
    assert (refused.status, b"<li>Method: POST</li>" in refused.body) == (405, True)
    site.ask("PUT", "/bkt", website(INDEX, ERROR), website="")
    answer = browse(site, "/none")
    assert (answer.status, answer.body) == (404, b"error.html")
    site.ask("DELETE", "/bkt/error.html")
    answer = browse(site, "/none")
    assert answer.status == 404 and b"Retrieve a Custom Error Document" in answer.body
    site.ask("DELETE", "/bkt", policy="")
    assert browse(site, "/page").status == 403


def condition(**members: str) -> str:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in members.items())
    return f"<Condition>{inner}</Condition>"


def redirect(**members: str) -> str:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in members.items())
    return f"<Redirect>{inner}</Redirect>"


@pytest.mark.parametrize(("rule", "path", "status", "location"), [
    (condition(KeyPrefixEquals="docs/") + redirect(ReplaceKeyPrefixWith="papers/"), "/docs/a", 301,
     f"http://{SITE}/papers/a"),
    (condition(KeyPrefixEquals="docs/") + redirect(ReplaceKeyPrefixWith="papers/"), "/page", 200, None),
    (condition(HttpErrorCodeReturnedEquals="404") + redirect(HostName="h", ReplaceKeyWith="found", Protocol="https",
                                                             HttpRedirectCode="307"), "/none", 307, "https://h/found"),
    (condition(HttpErrorCodeReturnedEquals="404") + redirect(HostName="h"), "/page", 200, None),
    (condition(HttpErrorCodeReturnedEquals="403") + redirect(HostName="h"), "/none", 404, None),
    (redirect(HostName="h"), "/a%20b/c", 301, "http://h/a%20b/c"),
    (condition(KeyPrefixEquals="small/") + redirect(HostName="h", ReplaceKeyPrefixWith="resize?of=9%25&amp;key="),
     "/small/a%20b/c%3Fd", 301, "http://h/resize?of=9%25&key=a%20b/c%3Fd"),
    (condition(HttpErrorCodeReturnedEquals="404") + redirect(HostName="h", ReplaceKeyPrefixWith="#!/"), "/a/b", 301,
     "http://h/#!/a/b"),
    (redirect(HostName="h", ReplaceKeyWith="a&#xD;&#xA;b: ü"), "/", 301, "http://h/a%0D%0Ab:%20%C3%BC")])
def test_routing_rules(site: Counter, rule: str, path: str, status: int, location: Any) -> None:
    assert site.ask("PUT", "/bkt", website(INDEX, rules(rule)), website="").status == 200
    answer = browse(site, path)
    assert (answer.status, answer.headers.get("location")) == (status, location)


def test_all_requests_may_go_elsewhere(site: Counter) -> None:
    site.ask("PUT", "/bkt", website("<RedirectAllRequestsTo><HostName>example.com</HostName><Protocol>https</Protocol>"
                                    "</RedirectAllRequestsTo>"), website="")
    answer = browse(site, "/a/b?c=d")
    assert (answer.status, answer.headers["location"]) == (301, "https://example.com/a/b?c=d")
