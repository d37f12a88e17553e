"""What is done around every operation: transactions, DryRun, idempotency tokens, group commit, pages."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError, declare
from cloudlet.kernel.service import Service
from cloudlet.store.db import Store
from cloudlet.wire.faults import faults_of
from cloudlet.wire.invoke import Invoker
from tests.wire.exchange import ROOT, ManualClock


class Desk:
    """A store and what runs operations over it, as one caller."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.clock.at = 1_700_000_000.0
        self.store = Store(str(directory / "store.db"), self.clock)
        self.store.create_tables("create table if not exists made (id integer primary key)")
        self.invoker = Invoker(self.store)
        self.flushed = 0
        flush = self.store.flush

        async def counted(tx: Any = None) -> None:
            self.flushed += 1
            await flush(tx)
        self.store.flush = counted  # type: ignore[method-assign]

    def __call__(self, service: Service, name: str, region: str = "us-east-1", account: str = ROOT.account,
                 **request: Any) -> Any:
        operation = service.operations[name]
        call = Call("id", account, region, ROOT, self.clock.now(), "http://localhost")
        faults = faults_of(service.name, service.protocols[0])
        return asyncio.run(self.invoker.invoke(operation, call, request, faults, lambda tx: None))

    @property
    def made(self) -> int:
        with self.store.tx() as tx:
            return int(tx.execute("select count(*) from made").fetchone()[0])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def code_of(caught: pytest.ExceptionInfo[AwsError]) -> str:
    return caught.value.code


def make(tx: Any) -> int:
    tx.execute("insert into made default values")
    return int(tx.execute("select max(id) from made").fetchone()[0])


# transactions

def test_an_error_rolls_everything_back(desk: Desk) -> None:
    ecs = Service("ecs")

    @ecs.write
    def create_cluster(call: Any, tx: Any, request: Any) -> Any:
        make(tx)
        raise declare("ClientException")("no")
    with pytest.raises(AwsError):
        desk(ecs, "CreateCluster")
    assert desk.made == 0


def test_durable_operations_wait_for_the_disk(desk: Desk) -> None:
    sqs = Service("sqs")

    @sqs.write(durable=True)
    def send_message(call: Any, tx: Any, request: Any) -> Any:
        return {"MessageId": str(make(tx))}

    @sqs.write
    def create_queue(call: Any, tx: Any, request: Any) -> Any:
        return {}
    desk(sqs, "CreateQueue")
    assert desk.flushed == 0
    desk(sqs, "SendMessage")
    assert (desk.flushed, desk.made) == (1, 1)


def test_a_data_plane_owns_its_transactions(desk: Desk) -> None:
    sqs = Service("sqs")

    @sqs.wait
    async def receive_message(call: Any, store: Any, request: Any) -> Any:
        with store.tx() as tx:
            make(tx)
        await asyncio.sleep(0)
        return {"Messages": []}
    assert desk(sqs, "ReceiveMessage") == {"Messages": []}
    assert desk.made == 1


def test_dry_run(desk: Desk) -> None:
    ec2 = Service("ec2")

    @ec2.write
    def create_vpc(call: Any, tx: Any, request: Any) -> Any:
        make(tx)
        return {}
    with pytest.raises(AwsError) as caught:
        desk(ec2, "CreateVpc", DryRun=True)
    assert (code_of(caught), caught.value.status, desk.made) == ("DryRunOperation", 412, 0)
    desk(ec2, "CreateVpc", DryRun=False)
    assert desk.made == 1


# idempotency tokens

@pytest.fixture
def ecs() -> Service:
    service = Service("ecs")

    @service.write
    def run_task(call: Any, tx: Any, request: Any) -> Any:
        if request["taskDefinition"] == "broken":
            make(tx)
            raise declare("ClientException")("no")
        return {"tasks": [{"taskArn": str(make(tx)), "createdAt": 1.5}]}
    return service


def test_a_token_replays_its_answer(desk: Desk, ecs: Service) -> None:
    first = desk(ecs, "RunTask", taskDefinition="a", clientToken="t")
    assert desk(ecs, "RunTask", clientToken="t", taskDefinition="a") == first
    assert desk.made == 1
    assert desk(ecs, "RunTask", taskDefinition="a") != desk(ecs, "RunTask", taskDefinition="a")
    assert desk.made == 3


def test_a_token_with_other_parameters_is_refused(desk: Desk, ecs: Service) -> None:
    desk(ecs, "RunTask", taskDefinition="a", clientToken="t")
    with pytest.raises(AwsError) as caught:
        desk(ecs, "RunTask", taskDefinition="b", clientToken="t")
    assert (code_of(caught), desk.made) == ("ConflictException", 1)


def test_a_token_belongs_to_an_account_and_a_region(desk: Desk, ecs: Service) -> None:
    for region, account in (("us-east-1", "1"), ("us-east-2", "1"), ("us-east-1", "2")):
        desk(ecs, "RunTask", region, account, taskDefinition="a", clientToken="t")
    assert desk.made == 3


def test_a_failure_uses_up_no_token(desk: Desk, ecs: Service) -> None:
    with pytest.raises(AwsError):
        desk(ecs, "RunTask", taskDefinition="broken", clientToken="t")
    desk(ecs, "RunTask", taskDefinition="a", clientToken="t")
    assert desk.made == 1


def test_a_token_is_kept_for_a_day(desk: Desk, ecs: Service) -> None:
    desk(ecs, "RunTask", taskDefinition="a", clientToken="t")
    assert desk.clock.at is not None
    desk.clock.at += 24 * 3600 - 1
    desk(ecs, "RunTask", taskDefinition="a", clientToken="t")
    assert desk.made == 1
    desk.clock.at += 2
    desk(ecs, "RunTask", taskDefinition="b", clientToken="t")
    assert desk.made == 2
    with desk.store.tx() as tx:
        assert tx.execute("select count(*) from wire_idempotency").fetchone() == (1,)


def test_ec2_has_its_own_word(desk: Desk) -> None:
    ec2 = Service("ec2")

    @ec2.write
    def run_instances(call: Any, tx: Any, request: Any) -> Any:
        return {"ReservationId": str(make(tx))}
    desk(ec2, "RunInstances", ClientToken="t", MinCount=1)
    with pytest.raises(AwsError) as caught:
        desk(ec2, "RunInstances", ClientToken="t", MinCount=2)
    assert code_of(caught) == "IdempotentParameterMismatch"


# pages

class Listing:
    """ListClusters over a list that the test may change, and DescribeVpcs and ListUsers beside it."""

    def __init__(self) -> None:
        self.arns = [f"arn:{index:03d}" for index in range(25)]
        self.ecs, self.ec2, self.iam = Service("ecs"), Service("ec2"), Service("iam")

        @self.ecs.read
        def list_clusters(call: Any, tx: Any, request: Any) -> Any:
            return {"clusterArns": sorted(self.arns)}

        @self.ecs.read
        def list_services(call: Any, tx: Any, request: Any) -> Any:
            return {"serviceArns": ["mine"], "nextToken": "own"}

        @self.ec2.read
        def describe_vpcs(call: Any, tx: Any, request: Any) -> Any:
            return {"Vpcs": [{"VpcId": arn, "State": "available"} for arn in sorted(self.arns)]}

        @self.iam.read
        def list_users(call: Any, tx: Any, request: Any) -> Any:
            return {"Users": [{"UserName": arn, "CreateDate": 0.0} for arn in sorted(self.arns)]}


@pytest.fixture
def listing() -> Listing:
    return Listing()


def walk(desk: Desk, listing: Listing, limit: int, between: Any = lambda: None) -> list[str]:
    seen, token = [], None
    while True:
        answer = desk(listing.ecs, "ListClusters", maxResults=limit, **({"nextToken": token} if token else {}))
        assert len(answer["clusterArns"]) <= limit
        seen += answer["clusterArns"]
        token = answer.get("nextToken")
        if token is None:
            return seen
        between()


@pytest.mark.parametrize("limit", [1, 7, 24, 25, 26])
def test_pages_come_to_the_whole(desk: Desk, listing: Listing, limit: int) -> None:
    assert walk(desk, listing, limit) == listing.arns


def test_pages_while_items_come_and_go(desk: Desk, listing: Listing) -> None:
    steady = listing.arns[::2]
    changes = iter([("remove", "arn:009"), ("append", "arn:000b"), ("remove", "arn:019"), ("append", "arn:015b")])

    def between() -> None:
        change = next(changes, None)
        if change:
            getattr(listing.arns, change[0])(change[1])
    seen = walk(desk, listing, 5, between)
    assert [arn for arn in seen if arn in steady] == steady
    assert len(seen) == len(set(seen))


def test_the_item_after_which_a_page_begins_may_go(desk: Desk, listing: Listing) -> None:
    answer = desk(listing.ecs, "ListClusters", maxResults=5)
    for gone in ("arn:004", "arn:005"):
        listing.arns.remove(gone)
    rest = desk(listing.ecs, "ListClusters", maxResults=100, nextToken=answer["nextToken"])["clusterArns"]
    assert rest[0] in ("arn:006", "arn:007")  # both neighbours went at once: the position is all that is left


@pytest.mark.parametrize("token", ["x", "AAAA", "é", "a" * 5000, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
def test_an_invalid_token(desk: Desk, listing: Listing, token: str) -> None:
    with pytest.raises(AwsError) as caught:
        desk(listing.ecs, "ListClusters", nextToken=token)
    assert code_of(caught) == "InvalidParameterException"


def test_a_token_of_another_query(desk: Desk, listing: Listing) -> None:
    token = desk(listing.ec2, "DescribeVpcs", MaxResults=5)["NextToken"]
    with pytest.raises(AwsError) as caught:
        desk(listing.ec2, "DescribeVpcs", MaxResults=5, NextToken=token, VpcIds=["arn:001"])
    assert code_of(caught) == "InvalidParameterValue"
    with pytest.raises(AwsError):
        desk(listing.ec2, "DescribeVpcs", "eu-west-1", MaxResults=5, NextToken=token)
    assert len(desk(listing.ec2, "DescribeVpcs", MaxResults=6, NextToken=token)["Vpcs"]) == 6


def test_items_are_known_by_their_names_not_their_state(desk: Desk, listing: Listing) -> None:
    first = desk(listing.ec2, "DescribeVpcs", MaxResults=5)
    listing.arns.insert(0, "arn:")
    second = desk(listing.ec2, "DescribeVpcs", MaxResults=5, NextToken=first["NextToken"])
    assert second["Vpcs"][0]["VpcId"] == "arn:005"


def test_answers_that_say_whether_there_is_more(desk: Desk, listing: Listing) -> None:
    answer = desk(listing.iam, "ListUsers", MaxItems=20)
    assert (answer["IsTruncated"], len(answer["Users"])) == (True, 20)
    last = desk(listing.iam, "ListUsers", Marker=answer["Marker"])
    assert (last["IsTruncated"], len(last["Users"]), "Marker" in last) == (False, 5, False)
    assert desk(listing.iam, "ListUsers")["IsTruncated"] is False


def test_an_operation_that_pages_itself_is_left_alone(desk: Desk, listing: Listing) -> None:
    assert desk(listing.ecs, "ListServices", nextToken="own") == {"serviceArns": ["mine"], "nextToken": "own"}


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_of_nothing(desk: Desk, listing: Listing, limit: int) -> None:
    with pytest.raises(AwsError) as caught:
        desk(listing.ecs, "ListClusters", maxResults=limit)
    assert code_of(caught) == "InvalidParameterException"
