"""The path of a request: what reaches an operation, what it answers in each protocol, and each way to be refused."""

import asyncio
import base64
import gzip
import hashlib
import io
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3
import uvloop
from botocore.config import Config
from botocore.exceptions import ClientError

from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.service import Need, Service, asked_within
from cloudlet.wire import cbor, json, protocol
from cloudlet.wire.gateway import Gateway
from cloudlet.wire.server import Server
from tests.wire.exchange import (
    HOST,
    FixedIdentities,
    gateway_of,
    json_request,
    once,
    request_of,
    signed,
    text_of,
)

ECS, SQS, CLOUDWATCH = "AmazonEC2ContainerServiceV20141113", "AmazonSQS", "GraniteServiceVersion20100801"


def declare_services() -> list[Service]:
    sts, ecs, ec2, sqs = Service("sts"), Service("ecs"), Service("ec2"), Service("sqs", protocols=("query",))
    cloudwatch, s3, logs = Service("cloudwatch"), Service("s3"), Service("logs")
    objects: dict[str, bytes] = {}
    missing = sqs.error("QueueDoesNotExist", "The specified queue does not exist.")

    @sts.read
    def get_caller_identity(call: Any, tx: Any, request: Any) -> Any:
        return {"Account": call.account, "Arn": call.principal.arn, "UserId": call.source_ip}

    @ecs.read(resources=lambda call, request: [call.arn("ecs", f"cluster/{name}") for name in request["clusters"]])
    def describe_clusters(call: Any, tx: Any, request: Any) -> Any:
        return {"clusters": [{"clusterName": name, "status": "ACTIVE"} for name in request["clusters"]]}

    @ecs.write
    def create_cluster(call: Any, tx: Any, request: Any) -> Any:
        raise RuntimeError("secret detail")

    @ecs.write
    def delete_cluster(call: Any, tx: Any, request: Any) -> Any:
        return {"cluster": {"noSuchMember": 1}}

    @ec2.write
    def delete_vpc(call: Any, tx: Any, request: Any) -> Any:
        raise ec2.error("InvalidVpcID.NotFound", status=400)(f"The vpc ID '{request['VpcId']}' does not exist")

    @ec2.read
    def describe_vpcs(call: Any, tx: Any, request: Any) -> Any:
        return {"Vpcs": [{"VpcId": "vpc-1", "IsDefault": True, "Tags": []}]}

    @sqs.read
    def get_queue_url(call: Any, tx: Any, request: Any) -> Any:
        if request["QueueName"] == "missing":
            raise missing()
        return {"QueueUrl": f"{call.endpoint}/{call.account}/{request['QueueName']}"}

    @sqs.read
    def list_queues(call: Any, tx: Any, request: Any) -> Any:
        return {}

    @sqs.write
    def set_queue_attributes(call: Any, tx: Any, request: Any) -> Any:
        assert request["Attributes"] == {"VisibilityTimeout": "5", "DelaySeconds": "1"}

    @cloudwatch.read
    def describe_alarms(call: Any, tx: Any, request: Any) -> Any:
        if request.get("AlarmNames") == ["missing"]:
            raise cloudwatch.error("ResourceNotFound")("no alarm")
        return {"MetricAlarms": [{"AlarmName": "a", "Threshold": 1.5, "StateUpdatedTimestamp": 1_700_000_000.25}]}

    @cloudwatch.write
    def put_metric_data(call: Any, tx: Any, request: Any) -> Any:
        assert len(request["MetricData"]) == 500

    @s3.wait
    async def put_object(call: Any, store: Any, request: Any) -> Any:
        data = b"".join([chunk async for chunk in request["Body"]]) if "Body" in request else b""
        objects[request["Key"]] = data
        return {"ETag": f'"{hashlib.md5(data).hexdigest()}"'}

    @s3.wait
    async def get_object(call: Any, store: Any, request: Any) -> Any:
        if request["Key"] not in objects:
            raise s3.error("NoSuchKey", "The specified key does not exist.")(Key=request["Key"])
        data = objects[request["Key"]]
        return {"Body": once(data[:5], data[5:]), "ContentLength": len(data), "ContentType": "text/plain",
                "Metadata": {"a": "b"}, "LastModified": 1_700_000_000.0}

    @s3.write
    def put_bucket_tagging(call: Any, tx: Any, request: Any) -> Any:
        return None

    @s3.read
    def list_objects_v2(call: Any, tx: Any, request: Any) -> Any:
        return {"Name": request["Bucket"], "KeyCount": len(objects), "IsTruncated": False,
                "Contents": [{"Key": key, "Size": len(data)} for key, data in objects.items()]}

    @logs.wait
    async def start_live_tail(call: Any, store: Any, request: Any) -> Any:
        async def events() -> Any:
            yield {"sessionStart": {"requestId": "r"}}
            yield {"sessionUpdate": {"sessionResults": [{"message": "hello"}]}}
        return {"responseStream": events()}
    return [sts, ecs, ec2, sqs, cloudwatch, s3, logs]


@pytest.fixture
def identities() -> FixedIdentities:
    return FixedIdentities()


@pytest.fixture
def gateway(tmp_path: Path, identities: FixedIdentities) -> Gateway:
    return gateway_of(*declare_services(), identities=identities, directory=tmp_path)


def answer(gateway: Gateway, request: Request) -> Response:
    return asyncio.run(gateway.handle(request))


def ecs(operation: str, body: bytes) -> Request:
    return json_request(ECS, operation, body, "ecs")


def query(service: str, version: str, action: str, **parameters: str) -> Request:
    pairs = "&".join(f"{name}={value}" for name, value in parameters.items())
    return signed(service, f"Action={action}&Version={version}&{pairs}".encode())


# permissions

def test_the_action_and_its_resources_are_asked(gateway: Gateway, identities: FixedIdentities) -> None:
    answer(gateway, ecs("DescribeClusters", b'{"clusters": ["a", "b"]}'))
    answer(gateway, ecs("DescribeClusters", b'{"clusters": []}'))
    answer(gateway, query("sts", "2011-06-15", "GetCallerIdentity"))
    arn = "arn:aws:ecs:us-east-1:000000000000:cluster/"
    assert identities.asked == [("ecs:DescribeClusters", (arn + "a", arn + "b")), ("ecs:DescribeClusters", ("*",)),
                                ("sts:GetCallerIdentity", ("*",))]


@pytest.mark.parametrize(("request_", "action", "status", "code"), [
    (lambda: ecs("DescribeClusters", b'{"clusters": []}'), "ecs:DescribeClusters", 400,
     '"__type":"AccessDeniedException"'),
    (lambda: query("sts", "2011-06-15", "GetCallerIdentity"), "sts:GetCallerIdentity", 403,
     "<Code>AccessDenied</Code>"),
    (lambda: query("ec2", "2016-11-15", "DescribeVpcs"), "ec2:DescribeVpcs", 403, "<Code>UnauthorizedOperation</Code>"),
    (lambda: query("ec2", "2016-11-15", "DescribeVpcs", DryRun="true"), "ec2:DescribeVpcs", 403,
     "UnauthorizedOperation"),
    (lambda: signed("s3", method="GET", url=f"http://{HOST}/b?list-type=2"), "s3:ListObjectsV2", 403, "AccessDenied")])
def test_refusals(gateway: Gateway, identities: FixedIdentities, request_: Callable[[], Request], action: str,
                  status: int, code: str) -> None:
    identities.refused.add(action)
    response = answer(gateway, request_())
    assert (response.status, code in text_of(response)) == (status, True), text_of(response)
    assert f"may not {action}" in text_of(response)


def test_dry_run_comes_after_permission(gateway: Gateway) -> None:
    response = answer(gateway, query("ec2", "2016-11-15", "DescribeVpcs", DryRun="true"))
    assert (response.status, "DryRunOperation" in text_of(response)) == (412, True)


# what is not there

def test_declared_by_aws_but_not_here(gateway: Gateway) -> None:
    response = answer(gateway, ecs("CreateTaskSet", b"{}"))
    assert (response.status, "NotImplemented" in text_of(response)) == (501, True)
    response = answer(gateway, query("ec2", "2016-11-15", "RunInstances"))
    assert (response.status, "<Code>NotImplemented</Code>" in text_of(response)) == (501, True)
    response = answer(gateway, signed("s3", method="GET", url=f"http://{HOST}/bucket?acl"))
    assert (response.status, "<Code>NotImplemented</Code>" in text_of(response)) == (501, True)


@pytest.mark.parametrize(("request_", "status", "code"), [
    (ecs("DoWhatIMean", b"{}"), 400, "UnknownOperationException"),
    (signed("ecs", b"{}"), 400, "UnknownOperationException"),
    (query("sts", "2011-06-15", "DoWhatIMean"), 400, "InvalidAction"),
    (signed("sts", b""), 400, "InvalidAction"),
    (signed("s3", method="PATCH", url=f"http://{HOST}/bucket"), 405, "MethodNotAllowed"),
    (signed("cloudwatch", b"\xa0", url=f"http://{HOST}/service/X/operation/Y"), 501, "NotImplemented"),
    (json_request("DynamoDB_20120810", "ListTables", b"{}", "dynamodb"), 501, "NotImplemented"),
    (signed("sns", b"Action=Publish"), 501, "NotImplemented"),
    (request_of("GET", f"http://{HOST}/b?list-type=2", {}), 403, "AccessDenied"),
    (request_of("POST", f"http://{HOST}/", {"content-type": "application/x-www-form-urlencoded"}, b"Action=x"), 403,
     "MissingAuthenticationToken")])
def test_unknown(gateway: Gateway, request_: Request, status: int, code: str) -> None:
    response = answer(gateway, request_)
    assert (response.status, code in text_of(response)) == (status, True), text_of(response)


def test_a_target_must_be_of_the_scope(gateway: Gateway) -> None:
    response = answer(gateway, json_request(ECS, "DescribeClusters", b'{"clusters": []}', "logs"))
    assert response.status == 400


# our own mistakes

@pytest.mark.parametrize("operation", ["CreateCluster", "DeleteCluster"])
def test_a_bug_is_a_500_with_a_trace_in_the_log(gateway: Gateway, caplog: pytest.LogCaptureFixture,
                                                operation: str) -> None:
    with caplog.at_level(logging.ERROR):
        response = answer(gateway, ecs(operation, b'{"cluster": "x"}'))
    assert (response.status, "InternalFailure" in text_of(response)) == (500, True)
    assert "secret" not in text_of(response)
    assert response.headers["x-amzn-requestid"] in caplog.text
    assert "Traceback" in caplog.text


# bodies

def test_limits(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    big = b'{"clusters": ["' + b"x" * 17 * protocol.MIB + b'"]}'
    assert answer(gateway, ecs("DescribeClusters", big)).status == 413
    monkeypatch.setattr(json, "ITEMS_MAX", 1000)
    response = answer(gateway, ecs("DescribeClusters", b'{"clusters": [' + b"[]," * 1000 + b"[]]}"))
    assert (response.status, "too many elements" in text_of(response)) == (400, True)


BOMBS = {  # signed when they are sent: a signature is good for a quarter of an hour
    "json lists": lambda: ecs("DescribeClusters", b'{"clusters": ' + b"[" * 2_000_000),
    "json elements": lambda: ecs("DescribeClusters", b'{"clusters": [' + b"{}," * 4_000_000 + b"{}]}"),
    "parameters": lambda: signed("ec2", b"Action=DescribeVpcs&" + b"a=&" * 1_000_000),
    "names": lambda: signed("ec2", b"Action=DescribeVpcs&" + b"".join(
        b"a%d.b.c.d.e.f.g.h.i.j=&" % i for i in range(90_000))),
    "cbor": lambda: signed("monitoring", b"\xbf\x61a\x9f" + b"\x80" * 3_000_000,
                           url=f"http://{HOST}/service/{CLOUDWATCH}/operation/DescribeAlarms"),
    "gzip": lambda: signed("ecs", gzip.compress(b" " * 50_000_000), headers={
        "X-Amz-Target": f"{ECS}.DescribeClusters", "Content-Encoding": "gzip"}),
    "elements": lambda: signed("s3", b"<Tagging>" + b"<a/>" * 900_000 + b"</Tagging>", method="PUT",
                       url=f"http://{HOST}/bucket?tagging"),
    "entities": lambda: signed("s3", b'<!DOCTYPE a [<!ENTITY b "' + b"b" * 1000 + b'">' + b"".join(
        b'<!ENTITY c%d "%b">' % (i, (b"&c%d;" % (i - 1) if i else b"&b;") * 10) for i in range(9)) + b"]><Tagging>&c8;"
        b"</Tagging>", method="PUT", url=f"http://{HOST}/bucket?tagging")}


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_small_body_becomes_large(gateway: Gateway, bomb: str) -> None:
    response = answer(gateway, BOMBS[bomb]())
    assert response.status in (400, 413), text_of(response)[:500]


def test_each_violation_is_named(gateway: Gateway) -> None:
    response = answer(gateway, query("sts", "2011-06-15", "AssumeRole"))
    assert response.status == 501
    text = text_of(answer(gateway, query("ec2", "2016-11-15", "DeleteVpc")))
    assert "<Code>MissingParameter</Code><Message>The request must contain the parameter VpcId</Message>" in text
    text = text_of(answer(gateway, query("ec2", "2016-11-15", "DescribeVpcs", Nonsense="1")))
    assert "<Code>UnknownParameter</Code><Message>The parameter Nonsense is not recognized</Message>" in text


def test_cbor_and_json_keep_the_codes_of_the_query_protocol(gateway: Gateway) -> None:
    body = cbor.encode({"AlarmNames": ["missing"]})
    request = signed("monitoring", body, url=f"http://{HOST}/service/{CLOUDWATCH}/operation/DescribeAlarms",
                     headers={"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor"})
    response = answer(gateway, request)
    assert (response.status, response.headers["smithy-protocol"]) == (404, "rpc-v2-cbor")
    assert isinstance(response.body, bytes)
    assert cbor.decode(response.body) == {"__type": "ResourceNotFound", "message": "no alarm"}
    response = answer(gateway, json_request(SQS, "GetQueueUrl", b'{"QueueName": "missing"}', "sqs"))
    assert response.headers["x-amzn-query-error"] == "AWS.SimpleQueueService.NonExistentQueue;Sender"
    assert '"__type":"QueueDoesNotExist"' in text_of(response)


def test_the_query_form_of_sqs(gateway: Gateway) -> None:
    text = text_of(answer(gateway, query("sqs", "2012-11-05", "GetQueueUrl", QueueName="q")))
    assert f"<GetQueueUrlResult><QueueUrl>http://{HOST}/000000000000/q</QueueUrl></GetQueueUrlResult>" in text
    assert 'xmlns="http://queue.amazonaws.com/doc/2012-11-05/"' in text
    text = text_of(answer(gateway, query("sqs", "2012-11-05", "GetQueueUrl", QueueName="missing")))
    assert "<Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>The specified queue does not exist for" in text
    names = {"Attribute.1.Name": "VisibilityTimeout", "Attribute.1.Value": "5", "Attribute.2.Name": "DelaySeconds",
             "Attribute.2.Value": "1"}
    response = answer(gateway, query("sqs", "2012-11-05", "SetQueueAttributes", QueueUrl="q", **names))
    assert response.status == 200
    pairs = "&".join(f"{name}={value}" for name, value in names.items())
    form = f"Action=SetQueueAttributes&Version=2012-11-05&{pairs}".encode()
    assert answer(gateway, signed("sqs", form, url=f"http://{HOST}/000000000000/q")).status == 200  # to its URL
    assert "<Code>MissingParameter</Code>" in text_of(answer(gateway, signed("sqs", form)))
    response = answer(gateway, signed("sqs", b"", url=f"http://{HOST}/000000000000/q"))
    assert (response.status, text_of(response)) == (404, "<UnknownOperationException/>\n")
    for action in (b"ListQueues", b"Dance"):  # not of a queue; of none
        text = text_of(answer(gateway, signed("sqs", b"Action=" + action, url=f"http://{HOST}/000000000000/q")))
        assert f"<Message>The action {action.decode()} is not valid for this endpoint.</Message>" in text


def test_every_answer_names_its_request(gateway: Gateway) -> None:
    seen = set()
    for request in (ecs("DescribeClusters", b'{"clusters": []}'), ecs("Nothing", b""),
                    query("sts", "2011-06-15", "GetCallerIdentity"), query("ec2", "2016-11-15", "DeleteVpc")):
        response = answer(gateway, request)
        seen.add(response.headers["x-amzn-requestid"])
        if "xml" in response.headers["content-type"]:
            assert response.headers["x-amzn-requestid"] in text_of(response)
    assert len(seen) == 4


@pytest.mark.parametrize(("body", "status", "code"), [
    (gzip.compress(b'{"clusters": ["a"]}'), 200, '"clusterName":"a"'), (b"not gzip", 400, "SerializationException"),
    (gzip.compress(b'{"clusters": ["a"]}')[:-9], 400, "SerializationException"),
    (gzip.compress(b" " * 17 * protocol.MIB), 413, "RequestEntityTooLarge")])
def test_a_compressed_body(gateway: Gateway, body: bytes, status: int, code: str) -> None:
    headers = {"X-Amz-Target": f"{ECS}.DescribeClusters", "Content-Encoding": "gzip"}
    response = answer(gateway, signed("ecs", body, headers=headers))
    assert (response.status, code in text_of(response)) == (status, True), text_of(response)


# real clients over a real server

@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server in a thread."""
    started, stop = threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def run() -> None:
        gateway = gateway_of(*declare_services(), directory=tmp_path_factory.mktemp("gateway"))
        server = Server(gateway.handle)
        found["port"], found["loop"] = await server.listen("127.0.0.1", 0), asyncio.get_running_loop()
        started.set()
        await stop.wait()
        await server.close()
    thread = threading.Thread(target=lambda: uvloop.run(run()))
    thread.start()
    assert started.wait(10)
    yield f"http://127.0.0.1:{found['port']}"
    found["loop"].call_soon_threadsafe(stop.set)
    thread.join(20)


def client(endpoint: str, name: str, **config: Any) -> Any:
    return boto3.client(name, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test",
                        aws_secret_access_key="test", config=Config(retries={"max_attempts": 0}, **config))


def test_boto3_speaks_each_protocol(endpoint: str) -> None:
    assert client(endpoint, "sts").get_caller_identity()["UserId"] == "127.0.0.1"
    assert client(endpoint, "ecs").describe_clusters(clusters=["é"])["clusters"][0]["clusterName"] == "é"
    assert client(endpoint, "ec2").describe_vpcs()["Vpcs"] == [{"VpcId": "vpc-1", "IsDefault": True, "Tags": []}]
    assert client(endpoint, "sqs").get_queue_url(QueueName="q")["QueueUrl"] == f"{endpoint}/000000000000/q"
    alarm = client(endpoint, "cloudwatch").describe_alarms()["MetricAlarms"][0]
    assert (alarm["Threshold"], alarm["StateUpdatedTimestamp"].timestamp()) == (1.5, 1_700_000_000.25)


def test_boto3_compresses_metrics(endpoint: str) -> None:
    client(endpoint, "cloudwatch").put_metric_data(
        Namespace="n", MetricData=[{"MetricName": "m" * 20, "Value": float(index)} for index in range(500)])


def test_boto3_raises_our_errors(endpoint: str) -> None:
    sqs, cloudwatch, ec2, s3 = (client(endpoint, name) for name in ("sqs", "cloudwatch", "ec2", "s3"))
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as caught:
        sqs.get_queue_url(QueueName="missing")
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    with pytest.raises(cloudwatch.exceptions.ResourceNotFound):
        cloudwatch.describe_alarms(AlarmNames=["missing"])
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket="b", Key="missing")
    with pytest.raises(ClientError, match=r"InvalidVpcID.NotFound.*The vpc ID 'vpc-9' does not exist"):
        ec2.delete_vpc(VpcId="vpc-9")


def test_boto3_puts_and_gets_objects(endpoint: str) -> None:
    s3 = client(endpoint, "s3", s3={"addressing_style": "path"}, signature_version="s3v4")
    data = b"hello, world " * 20_000
    put = s3.put_object(Bucket="b", Key="a/ü b+c", Body=io.BytesIO(data))
    assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    s3.put_object(Bucket="b", Key="sum", Body=data, ChecksumAlgorithm="SHA256")
    got = s3.get_object(Bucket="b", Key="a/ü b+c")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (data, {"a": "b"}, "text/plain")
    assert {one["Key"] for one in s3.list_objects_v2(Bucket="b")["Contents"]} == {"a/ü b+c", "sum"}
    url = s3.generate_presigned_url("get_object", {"Bucket": "b", "Key": "sum"})
    with urllib3.PoolManager() as pool:
        assert pool.request("GET", url).data == data
        assert pool.request("GET", url + "x").status == 403


def test_boto3_reads_events(endpoint: str) -> None:
    logs = client(endpoint, "logs", inject_host_prefix=False)
    stream = logs.start_live_tail(logGroupIdentifiers=["arn:aws:logs:us-east-1:000000000000:log-group:g"])
    events = list(stream["responseStream"])
    assert events[1]["sessionUpdate"]["sessionResults"] == [{"message": "hello"}]


# S3: nobody in particular, and permissions that depend on the request

def test_a_request_of_nobody_reaches_the_decision(gateway: Gateway, identities: FixedIdentities) -> None:
    listing, put = f"http://{HOST}/b?list-type=2", f"http://{HOST}/b/key"
    assert answer(gateway, request_of("GET", listing, {})).status == 403
    identities.public |= {"s3:ListObjectsV2", "s3:PutObject"}
    assert answer(gateway, request_of("GET", listing, {})).status == 200
    wrong = {"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    assert "BadDigest" in text_of(answer(gateway, request_of("PUT", put, wrong, b"data")))
    assert answer(gateway, request_of("PUT", put, {}, b"data")).status == 200
    claims = [{"authorization": ""}, {"authorization": "AWS test:AAAA"}]
    for headers in claims:
        assert answer(gateway, request_of("GET", listing, headers)).status in (400, 403)
    for key in ("X-Amz-Signature", "X-Amz-Algorithm", "AWSAccessKeyId", "Signature"):
        assert answer(gateway, request_of("GET", f"{listing}&{key}=x", {})).status in (400, 403)
    bad = {"x-amz-content-sha256": "nonsense"}
    assert answer(gateway, request_of("PUT", put, bad, b"data")).status == 400


def test_what_is_needed_may_depend_on_the_request(tmp_path: Path) -> None:
    s3, identities = Service("s3"), FixedIdentities(public=["s3:GetObject"])
    arn = "arn:aws:s3:::{Bucket}/{Key}"

    @s3.read(action=lambda call, request: "s3:GetObjectVersion" if "VersionId" in request else "s3:GetObject",
             resources=lambda call, request: [arn.format(**request)])
    def head_object(call: Any, tx: Any, request: Any) -> Any:
        return {}

    @s3.write(resources=lambda call, request: ["here", Need("s3:GetObject", request["CopySource"]), "there"])
    def copy_object(call: Any, tx: Any, request: Any) -> Any:
        return {}

    @s3.write(resources=asked_within)
    def delete_objects(call: Any, tx: Any, request: Any) -> Any:
        return {}

    @s3.admission
    def admit(call: Any, tx: Any, operation: str, request: Any) -> None:
        if operation == "HeadObject" and request["Bucket"] == "missing":
            raise s3.error("NoSuchBucket")

    gateway = gateway_of(s3, identities=identities, directory=tmp_path)
    for url in ("b/k", "b/k?versionId=1"):
        answer(gateway, signed("s3", method="HEAD", url=f"http://{HOST}/{url}"))
    answer(gateway, signed("s3", method="PUT", url=f"http://{HOST}/b/k", headers={"x-amz-copy-source": "other/k"}))
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    md5 = {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()}
    assert answer(gateway, signed("s3", body, url=f"http://{HOST}/b?delete", headers=md5)).status == 200
    assert "Missing required header" in text_of(answer(gateway, signed("s3", body, url=f"http://{HOST}/b?delete")))
    assert identities.asked == [
        ("s3:GetObject", ("arn:aws:s3:::b/k",)), ("s3:GetObjectVersion", ("arn:aws:s3:::b/k",)),
        ("s3:CopyObject", ("here", "there")), ("s3:GetObject", ("other/k",))]
    missing = answer(gateway, signed("s3", method="HEAD", url=f"http://{HOST}/missing/k"))
    assert (missing.status, len(identities.asked)) == (404, 4)


def test_requests_that_wait_for_the_disk_share_a_commit(tmp_path: Path) -> None:
    sqs, said = Service("sqs"), list[str]()

    @sqs.write(durable=True)
    def delete_queue(call: Any, tx: Any, request: Any) -> Any:
        tx.execute("insert into gone values (?)", (request["QueueUrl"],))

    @sqs.wait
    async def send_message(call: Any, store: Any, request: Any) -> Any:
        with store.tx(shared=True) as tx:
            tx.execute("insert into gone values (?)", (request["QueueUrl"],))
        await store.flush(tx)
    gateway = gateway_of(sqs, directory=tmp_path)
    gateway.store.create_tables("create table if not exists gone (url text)")

    def note(cursor: object, sql: str, values: object) -> bool:
        said.append(sql)
        return True

    async def ask() -> list[Response]:
        return await asyncio.gather(*(gateway.handle(json_request(
            SQS, operation, b'{"QueueUrl": "u", "MessageBody": "b"}', "sqs"))
            for operation in ("DeleteQueue", "SendMessage") * 3))
    store: Any = gateway.store
    store._db.exec_trace = note
    assert [answer.status for answer in asyncio.run(ask())] == [200] * 6
    written = said[said.index("insert into gone values (?)"):]
    assert written.count("insert into gone values (?)") == 6 and written.count("commit") == 1
