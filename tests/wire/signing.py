"""A gateway of several protocol families for who signs requests to it, rightly or wrongly."""

import asyncio
import hashlib
import re
from typing import Any

import pytest

from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.identity import Credential
from cloudlet.kernel.service import Service
from cloudlet.wire.faults import faults_of
from cloudlet.wire.gateway import Gateway
from tests.wire.exchange import (
    HOST,
    KEY,
    ROOT,
    SECRET,
    FixedIdentities,
    ManualClock,
    gateway_of,
    text_of,
)

STS = b"Action=GetCallerIdentity&Version=2011-06-15"
EC2 = b"Action=DescribeVpcs&Version=2016-11-15"
ECS = "AmazonEC2ContainerServiceV20141113"
S3_URL = f"http://{HOST}/bucket/some%20key/a%2Bb"
TOKEN = "a-session-token"
S3_FAULTS = faults_of("s3", "rest-xml")


def services() -> list[Service]:
    sts, ecs, ec2, s3, eks = Service("sts"), Service("ecs"), Service("ec2"), Service("s3"), Service("eks")

    @sts.read
    def get_caller_identity(call: Any, tx: Any, request: Any) -> Any:
        return {"Account": call.account, "Arn": call.principal.arn, "UserId": call.region}

    @ecs.read
    def list_clusters(call: Any, tx: Any, request: Any) -> Any:
        return {"clusterArns": []}

    @ec2.read
    def describe_vpcs(call: Any, tx: Any, request: Any) -> Any:
        return {"Vpcs": []}

    @s3.wait
    async def put_object(call: Any, store: Any, request: Any) -> Any:
        body = await request["Body"].read(10_000_000) if "Body" in request else b""
        return {"ETag": hashlib.md5(body).hexdigest(), "VersionId": request["Key"].encode().hex()}

    @s3.wait
    async def get_object(call: Any, store: Any, request: Any) -> Any:
        return {"Body": b"content", "ContentType": "text/plain"}

    @s3.write
    def put_bucket_policy(call: Any, tx: Any, request: Any) -> Any:
        return None

    @eks.read
    def describe_cluster(call: Any, tx: Any, request: Any) -> Any:
        return {"cluster": {"name": request["name"]}}
    return [sts, ecs, ec2, s3, eks]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def identities(clock: ManualClock) -> FixedIdentities:
    return FixedIdentities(
        Credential(KEY, SECRET, ROOT), Credential("ASIASESSION", "s3cret", ROOT, TOKEN, clock.now() + 3600),
        Credential("ASIAEXPIRED", "s3cret", ROOT, TOKEN, clock.now() - 1))


@pytest.fixture
def gateway(clock: ManualClock, identities: FixedIdentities, tmp_path: Any) -> Gateway:
    return gateway_of(*services(), identities=identities, clock=clock, directory=tmp_path)


def answer(gateway: Gateway, request: Request) -> Response:
    return asyncio.run(gateway.handle(request))


def code_of(response: Response) -> str:
    text = text_of(response)
    found = re.search(r"<Code>(.*?)</Code>", text) or re.search(r'"__type":"(.*?)"', text)
    return found[1] if found else response.headers.get("x-amzn-errortype", text)
