"""Access logs: a record for each request, in AWS's format, delivered once."""

import asyncio
import re

import pytest

from cloudlet.services.s3 import access_log, log_delivery
from cloudlet.services.s3.log_delivery import DAY_MS, DELIVERY, Deliverer
from cloudlet.services.s3.owners import canonical_id
from tests.services.s3.counter import ACCOUNT, Counter
from tests.services.s3.settings.test_bucket_lifecycle import configure
from tests.services.s3.settings.test_bucket_logging import let, log_to, md5, own
from tests.services.s3.settings.test_bucket_notification import notify, queue, told
from tests.services.s3.test_lifecycle import carry_out

FIELDS = re.compile(r'\[[^]]*]|"[^"]*"|\S+')
OWNER = canonical_id(ACCOUNT)


@pytest.fixture(autouse=True)
def logged(counter: Counter) -> None:
    counter.ask("PUT", "/logs")
    let(counter)
    assert log_to(counter).status == 200


def deliver(counter: Counter, bucket: str = "bkt") -> list[str]:
    """Delivers; the keys of all logs."""
    asyncio.run(Deliverer(counter.store).deliver(bucket))
    return [each.findtext("Key") for each in counter.ask("GET", "/logs").xml.findall("Contents")]


def records(counter: Counter) -> list[list[str]]:
    """The fields of all records that were delivered."""
    return [FIELDS.findall(line) for key in deliver(counter)
            for line in counter.ask("GET", f"/logs/{key}").body.decode().splitlines()]


def test_every_field_of_a_record(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/a b", b"data")
    got = counter.ask("GET", "/bkt/a b", headers={"user-agent": 'curl/8 "x" y', "referer": "http://here/",
                                                  "range": "bytes=1-2"})
    put, get = records(counter)
    assert len(put) == 26
    assert put[:2] == [OWNER, "bkt"] and re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000]", put[2])
    assert put[3:5] == ["127.0.0.1", OWNER]
    assert put[6:13] == ["REST.PUT.OBJECT", "a%20b", '"PUT /bkt/a%20b HTTP/1.1"', "200", "-", "-", "4"]
    assert put[13].isdigit() and put[14:18] == ["-", '"-"', '"-"', "-"]
    assert put[19:] == ["SigV4", "-", "AuthHeader", "localhost:4566", "-", "-", "-"]
    assert get[5] == got.headers["x-amz-request-id"] and got.headers["x-amz-id-2"] in get
    assert get[6:13] == ["REST.GET.OBJECT", "a%20b", '"GET /bkt/a%20b HTTP/1.1"', "206", "-", "2", "4"]
    assert get[14].isdigit() and get[15] == '"http://here/"'
    assert get[16:19] == ['"curl/8 "', 'x"', 'y"']  # quotes within stay as they are, as on AWS


def test_errors_are_recorded_and_who_made_them(counter: Counter) -> None:
    user = counter.user("ann")
    counter.ask("GET", "/bkt/none")
    counter.ask("GET", "/bkt/key", key="")
    counter.ask("GET", "/bkt/key", **user)
    counter.ask("GET", "/bkt/key", secret="wrong")
    counter.ask("PUT", "/bkt/key", b"x", headers={"content-md5": "????"})
    counter.ask("GET", "/bkt", acl="", region="eu-west-1")
    found = [(each[4], each[6], *each[9:11]) for each in records(counter)]
    assert found == [
        (OWNER, "REST.GET.OBJECT", "404", "NoSuchKey"), ("-", "REST.GET.OBJECT", "403", "AccessDenied"),
        (f"arn:aws:iam::{ACCOUNT}:user/ann", "REST.GET.OBJECT", "403", "AccessDenied"),
        ("-", "REST.GET.OBJECT", "403", "SignatureDoesNotMatch"), (OWNER, "REST.PUT.OBJECT", "400", "InvalidDigest"),
        (OWNER, "REST.GET.ACL", "400", "AuthorizationHeaderMalformed")]


def test_operations_as_the_log_calls_them(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/key", b"x")
    counter.ask("PUT", "/bkt/copy", headers={"x-amz-copy-source": "/bkt/key"})
    counter.ask("HEAD", "/bkt/key")
    counter.ask("GET", "/bkt", list_type="2")
    counter.ask("GET", "/bkt", versions="")
    upload = counter.ask("POST", "/bkt/big", uploads="").xml.findtext("UploadId")
    counter.ask("PUT", "/bkt/big", b"x", partNumber="1", uploadId=upload)
    counter.ask("DELETE", "/bkt/big", uploadId=upload)
    counter.ask("GET", "/bkt/key", tagging="")
    counter.ask("GET", "/bkt", policy="")
    counter.ask("OPTIONS", "/bkt/key", key="", headers={"origin": "http://x", "access-control-request-method": "GET"})
    counter.ask("GET", "/key", key="", headers={"host": "bkt.s3-website-us-east-1.localhost"})
    counter.ask("DELETE", "/bkt/key")
    assert [each[6] for each in records(counter)] == [f"REST.{name}" if name[0] != "W" else name for name in (
        "PUT.OBJECT", "COPY.OBJECT", "HEAD.OBJECT", "GET.BUCKET", "GET.BUCKETVERSIONS", "POST.UPLOADS", "PUT.PART",
        "DELETE.UPLOAD", "GET.OBJECT_TAGGING", "GET.BUCKETPOLICY", "OPTIONS.PREFLIGHT", "WEBSITE.GET.OBJECT",
        "DELETE.OBJECT")]


def test_each_key_of_a_deletion_has_a_record(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/a", b"x")
    body = b"<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>"
    assert counter.ask("POST", "/bkt", body, headers=md5(body), delete="").status == 200
    found = [(each[6], *each[7:11]) for each in records(counter)][1:]
    assert found == [("REST.POST.MULTI_OBJECT_DELETE", "-", '"POST /bkt?delete= HTTP/1.1"', "200", "-"),
                     ("BATCH.DELETE.OBJECT", "a", "-", "204", "-"), ("BATCH.DELETE.OBJECT", "b", "-", "204", "-")]


def test_bytes_that_are_streamed_are_counted(counter: Counter) -> None:
    counter.ask("PUT", "/bkt/big", bytes(200_000))
    assert len(counter.ask("GET", "/bkt/big").body) == 200_000
    assert records(counter)[1][9:13] == ["200", "-", "200000", "200000"]


@pytest.mark.parametrize("broken", [False, True])
def test_bytes_that_go_around_the_event_loop_are_counted(broken: bool) -> None:
    done: list[int | None] = []

    class Body:
        async def send_to(self, descriptor: int, head: bytes) -> None:
            assert done == []
            if broken:
                raise ConnectionResetError
    try:
        asyncio.run(access_log.Watched(Body(), 7, done.append).send_to(0, b""))
    except ConnectionResetError:
        assert broken
    assert done == [None if broken else 7]


def test_buckets_without_a_log_leave_no_trace(counter: Counter) -> None:
    counter.ask("PUT", "/other")
    counter.ask("PUT", "/other/key", b"x")
    counter.ask("GET", "/other/none")
    counter.ask("GET", "/")
    assert counter.rows("s3_access") == 0
    counter.ask("PUT", "/bkt", b"<BucketLoggingStatus/>", logging="")
    counter.ask("GET", "/bkt")
    assert counter.rows("s3_access") == 0


def test_a_record_goes_where_logs_went_at_its_time_and_only_once(counter: Counter) -> None:
    counter.ask("GET", "/bkt")
    log_to(counter, prefix="q/")  # which is itself in the log before
    counter.ask("GET", "/bkt")
    counter.ask("PUT", "/bkt", b"<BucketLoggingStatus/>", logging="")
    keys = deliver(counter)
    assert [key[:2] for key in keys] == ["p/", "q/"]
    assert re.fullmatch(r"p/2023-11-14-22-13-20-[0-9A-F]{16}", keys[0])
    assert deliver(counter) == keys and counter.rows("s3_access") == 0
    assert counter.ask("HEAD", f"/logs/{keys[0]}").headers["content-type"] == "text/plain"


def test_partitioned_keys(counter: Counter) -> None:
    form = ("<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>{}</PartitionDateSource>"
            "</PartitionedPrefix></TargetObjectKeyFormat>")
    log_to(counter, prefix="e/", more=form.format("EventTime"))  # which is recorded as well
    counter.desk.clock.time += DAY_MS / 1000
    counter.ask("GET", "/bkt")
    log_to(counter, prefix="d/", more=form.format("DeliveryTime"))
    counter.ask("GET", "/bkt")
    names = [key.rpartition("-")[0] for key in deliver(counter) if not key.startswith("p/")]
    start = f"{ACCOUNT}/us-east-1/bkt/2023/11"
    assert names == [f"d/{start}/15/2023-11-15-22-13-20", f"e/{start}/14/2023-11-14-00-00-00",
                     f"e/{start}/15/2023-11-15-00-00-00"]


def test_logs_are_put_in_pieces(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_delivery, "OBJECT_BYTES", 1000)
    for _ in range(10):
        counter.ask("GET", "/bkt")
    assert len(records(counter)) == 10
    assert len(deliver(counter)) > 2


def test_a_delivery_that_is_cut_off_is_made_again_and_nothing_twice(
        counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    counter.ask("GET", "/bkt")

    def cut(*args: object) -> None:
        raise KeyboardInterrupt
    with monkeypatch.context() as patched:
        patched.setattr(log_delivery.contents, "keep", cut)
        with pytest.raises(KeyboardInterrupt):
            deliver(counter)
    assert counter.rows("s3_access") == 1
    assert len(records(counter)) == 1 and counter.rows("s3_access") == 0


def test_what_a_target_does_not_take_is_lost(counter: Counter) -> None:
    counter.ask("GET", "/bkt")
    let(counter, StringEquals={"aws:SourceAccount": "111111111111"})
    assert deliver(counter) == [] and counter.rows("s3_access") == 0
    let(counter)
    counter.ask("GET", "/bkt")
    assert len(deliver(counter)) == 1


def test_lists_let_logs_in_and_grants_are_given(counter: Counter) -> None:
    own(counter, "BucketOwnerPreferred")
    counter.ask("DELETE", "/logs", policy="")
    counter.ask("PUT", "/logs", headers={"x-amz-acl": "log-delivery-write"}, acl="")
    log_to(counter, prefix="g/", more='<TargetGrants><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
           f' xsi:type="CanonicalUser"><ID>{canonical_id("111111111111")}</ID></Grantee><Permission>READ</Permission>'
           "</Grant></TargetGrants>")
    counter.ask("GET", "/bkt")
    (key,) = [key for key in deliver(counter) if key.startswith("g/")]
    assert counter.ask("GET", f"/logs/{key}", key="111111111111").status == 200
    assert counter.ask("GET", f"/logs/{key}", key="222222222222").status == 403


def test_logs_are_objects_like_others(counter: Counter) -> None:
    counter.ask("PUT", "/logs", b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
                versioning="")
    configure(counter, "<Filter/><Expiration><Days>1</Days></Expiration>", bucket="logs")
    counter.ask("GET", "/bkt")
    (key,) = deliver(counter)
    head = counter.ask("HEAD", f"/logs/{key}").headers
    assert len(head["x-amz-version-id"]) == 32 and "x-amz-expiration" in head
    carry_out(counter, 2, "logs")
    assert counter.ask("GET", f"/logs/{key}").code == "NoSuchKey"


def test_the_log_of_a_bucket_that_has_gone_is_still_delivered(counter: Counter) -> None:
    counter.ask("DELETE", "/bkt")
    assert [each[6] for each in records(counter)] == []  # it was gone when its answer was sent
    counter.ask("PUT", "/bkt")
    log_to(counter)
    counter.ask("GET", "/bkt")
    counter.ask("DELETE", "/bkt")
    assert [each[6] for each in records(counter)] == ["REST.GET.BUCKET"]


def test_what_has_come_is_asked_for_every_few_minutes(counter: Counter) -> None:
    counter.ask("GET", "/bkt")
    asyncio.run(Deliverer(counter.store).look())
    with counter.store.tx() as tx:
        assert tx.execute("select kind, key from work where kind=?", (DELIVERY,)).fetchall() == [(DELIVERY, "bkt")]


def test_a_bucket_may_keep_its_own_log_and_tell_of_it(counter: Counter) -> None:
    let(counter, "bkt")
    queue(counter, "q")
    assert notify(counter, "q").status == 200
    log_to(counter, "bkt", prefix="self/")
    deliver(counter)
    (put,) = [record for message in told(counter, "q") for record in message.get("Records", ())]
    assert put["s3"]["object"]["key"].startswith("self/")
    assert put["userIdentity"] == {"principalId": "logging.s3.amazonaws.com"}
    assert counter.rows("s3_access") == 0  # deliveries are in no log
