"""PutBucketRequestPayment, GetBucketRequestPayment, PutBucketAccelerateConfiguration, and its
GetBucketAccelerateConfiguration."""

import asyncio

from tests.services.s3.counter import Answer, Counter, document
from tests.wire.exchange import request_of

OTHER = "111111111111"


def payer(name: str) -> bytes:
    return f"<RequestPaymentConfiguration><Payer>{name}</Payer></RequestPaymentConfiguration>".encode()


def test_who_does_not_pay_gets_nothing(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    counter.ask("PUT", "/bkt", document({"Principal": {"AWS": OTHER}, "Resource": "arn:aws:s3:::bkt/*"}).encode(),
                policy="")
    assert counter.ask("GET", "/bkt", requestPayment="").xml.findtext("Payer") == "BucketOwner"
    assert counter.ask("PUT", "/bkt", payer("Nobody"), requestPayment="").code == "MalformedXML"
    assert counter.ask("PUT", "/bkt", payer("Requester"), requestPayment="").status == 200
    assert counter.ask("GET", "/bkt", requestPayment="").xml.findtext("Payer") == "Requester"
    assert counter.ask("GET", "/bkt/key").status == 200
    assert counter.ask("GET", "/bkt/key", key=OTHER).code == "AccessDenied"
    paid = {"x-amz-request-payer": "requester"}
    assert counter.ask("GET", "/bkt/key", key=OTHER, headers=paid).body == b"data"
    assert counter.ask("GET", "/bkt/key", key="", headers=paid).code == "AccessDenied"
    counter.ask("PUT", "/bkt", payer("BucketOwner"), requestPayment="")
    assert counter.ask("GET", "/bkt/key", key=OTHER).status == 200


def test_acceleration(counter: Counter) -> None:
    body = "<AccelerateConfiguration>{}</AccelerateConfiguration>"
    assert counter.ask("GET", "/bkt", accelerate="").xml.find("Status") is None

    def fast() -> Answer:
        return asyncio.run(counter.answer(request_of("GET", "/key", {"host": "bkt.s3-accelerate.localhost:4566"})))

    assert fast().code == "InvalidRequest"
    enabled = body.format("<Status>Enabled</Status>").encode()
    assert counter.ask("PUT", "/bkt", enabled, accelerate="").status == 200
    assert counter.ask("GET", "/bkt", accelerate="").xml.findtext("Status") == "Enabled"
    assert fast().code == "AccessDenied"  # to nobody in particular, at the bucket's second name
    assert counter.ask("PUT", "/bkt", body.format("").encode(), accelerate="").code == "MalformedXML"
    counter.ask("PUT", "/a.b")
    assert counter.ask("PUT", "/a.b", enabled, accelerate="").code == "InvalidRequest"
