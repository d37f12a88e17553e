"""Compares, when all is quiet, what the customer was promised, what the control plane tells, and what is there."""

from collections import Counter, defaultdict
from typing import Any

from cloudlet.kernel.errors import AwsError
from cloudlet.services import ec2, ecs, logs
from cloudlet.services.ecs.container_spec import container_name
from cloudlet.services.ecs.records import Task
from cloudlet.store import queue
from tests.simulation.customer import FAMILIES, Customer, ServiceState
from tests.simulation.nature import Nature
from tests.simulation.plane import Plane


class Checker:
    """`glance` may be asked at any moment, `check` when all should have settled. Both raise AssertionError."""

    def __init__(self, plane: Plane, nature: Nature, customer: Customer) -> None:
        self.plane, self.nature, self.customer = plane, nature, customer
        self.described: list[dict[str, Any]] = []

    def tasks(self) -> list[Task]:
        with self.plane.store.look() as tx:
            return tx.find(Task)

    def work(self, key: str) -> str:
        """What the loop last said of a key."""
        return str([work for work in queue.waiting(self.plane.store, 10_000) if work.key == key])

    def name(self, task: Task, position: int) -> str:
        return container_name(self.plane.site.installation, task, position)

    def glance(self) -> None:
        """Nothing is ever told that was not so: no status without an observation, no exit code made up."""
        for task in self.tasks():
            for position, container in enumerate(task.containers):
                name = self.name(task, position)
                if container.status == "RUNNING" or task.status == "RUNNING":
                    assert self.nature.containers.starts[name], f"{name} is told to run and was never started"
                if container.exit_code is not None:
                    assert container.exit_code == self.nature.ended.get(name), f"{name} did not end with that code"
            if task.status == "STOPPED":
                assert task.stop_code, f"{task.id} stopped without a code"
                assert task.stopped_reason, f"{task.id} stopped without a reason"
        twice = [name for name, count in self.nature.containers.starts.items()
                 if count > 1 and name not in self.nature.forgotten]
        assert not twice, f"started twice: {twice}"

    def check(self) -> None:
        """Everything."""
        self.glance()
        broken = queue.broken(self.plane.store)
        assert not broken, f"given up: {broken}"
        failing = [work for work in queue.waiting(self.plane.store, 1000) if work.attempts]
        assert not failing, f"keeps failing: {failing[0]}"
        tasks = self.tasks()
        self.check_tasks(tasks)
        self.check_services(tasks)
        self.check_containers(tasks)
        self.check_networks(tasks)
        self.check_rules()
        self.check_logs(tasks)

    def check_tasks(self, tasks: list[Task]) -> None:
        promises, by_arn = self.customer.promises, {task.arn: task for task in tasks}
        lost = [arn for arn in promises.tasks if arn not in by_arn]
        assert not lost, f"RunTask was answered, and the task is gone: {lost[0]}"
        ignored = [arn for arn in promises.stopped if by_arn[arn].status != "STOPPED"]
        assert not ignored, f"StopTask was answered, and the task is {by_arn[ignored[0]].status}: {ignored[0]}"
        for task in tasks:
            assert task.status in ("RUNNING", "STOPPED"), f"{task.id} hangs in {task.status}: {self.work(task.key)}"
            if task.service:
                continue
            family = task.revision.partition(":")[0]
            if not FAMILIES[family][1]:
                assert task.status == "STOPPED", f"{task.id} of {family} should have ended"

    def check_services(self, tasks: list[Task]) -> None:
        running: dict[str, Counter[str]] = defaultdict(Counter)
        for task in tasks:
            if task.status == "RUNNING" and task.service:
                running[task.service.rpartition("/")[2]][task.revision.partition(":")[0]] += 1
        for name, possible in self.customer.promises.services.items():
            service = self.customer.ask(ecs.ecs, "DescribeServices", services=[name])["services"]
            if not service or service[0]["status"] == "INACTIVE":
                now = ServiceState(None)
            else:
                family = service[0]["taskDefinition"].rpartition("/")[2].partition(":")[0]
                assert service[0]["status"] == "ACTIVE", f"{name} hangs in {service[0]['status']}"
                now = ServiceState(service[0]["desiredCount"], family)
            assert now in possible, f"{name} is {now}, promised was {possible}"
            if now.desired is None or FAMILIES[now.family][1]:
                wanted = Counter({now.family: now.desired}) if now.desired else Counter()
                assert running[name] == wanted, f"{name} should be {now} and runs {dict(running[name])}"
                if now.desired is not None:
                    assert service[0]["runningCount"] == now.desired, f"{name} counts {service[0]['runningCount']}"
                    assert service[0]["pendingCount"] == 0, f"{name} counts pending tasks"
                    assert len(service[0]["deployments"]) == 1, f"{name} keeps old deployments"

    def check_containers(self, tasks: list[Task]) -> None:
        wanted = {self.name(task, position): container.status == "RUNNING"
                  for task in tasks if task.status != "STOPPED" for position, container in enumerate(task.containers)}
        there = {name: body.seen.state == "running" for name, body in self.nature.containers.bodies.items()}
        there |= {name: False for name in self.nature.forgotten if wanted.get(name) is False}  # its end was seen before
        assert wanted == there, f"containers: {_difference(wanted, there)}"

    def check_networks(self, tasks: list[Task]) -> None:
        networks, told = self.nature.networks, self.customer.ask(ec2.ec2, "DescribeNetworkInterfaces")
        interfaces = {i["NetworkInterfaceId"]: i for i in told["NetworkInterfaces"]}
        used = {task.attachment.interface for task in tasks if task.status != "STOPPED"}
        assert used == set(interfaces), f"interfaces leaked or lost: {used ^ set(interfaces)}"
        addresses = sorted(i["PrivateIpAddress"] for i in interfaces.values())
        assert addresses == sorted(spec.address for spec in networks.interfaces.values()), "interfaces are not as told"
        assert set(networks.networks) == {spec.network for spec in networks.interfaces.values()}, "networks leaked"
        assert self.nature.doors.open == set(networks.networks), "doors are not where networks are"
        for subnet in self.customer.ask(ec2.ec2, "DescribeSubnets")["Subnets"]:
            size = 1 << 32 - int(subnet["CidrBlock"].rpartition("/")[2])
            taken = sum(i["SubnetId"] == subnet["SubnetId"] for i in interfaces.values())
            assert subnet["AvailableIpAddressCount"] == size - 5 - taken, f"{subnet['SubnetId']} lost addresses"
        members = {(m.address, m.groups, m.public) for fabric in networks.fabrics.values() for m in fabric.members}
        igw = {a["VpcId"] for g in self.customer.ask(ec2.ec2, "DescribeInternetGateways")["InternetGateways"]
               for a in g["Attachments"]}
        expected = {(i["PrivateIpAddress"], tuple(g["GroupId"] for g in i["Groups"]),
                     i.get("Association", {}).get("PublicIp") if i["VpcId"] in igw else None)
                    for i in interfaces.values()}
        assert members == expected, f"members: {members ^ expected}"
        with self.plane.store.look() as tx:
            taken_public = {row[0] for row in tx.execute("select key from record where kind='ec2.public-address'")}
        public = {i["Association"]["PublicIp"] for i in interfaces.values() if "Association" in i}
        assert taken_public == public, f"public addresses leaked: {taken_public ^ public}"

    def check_rules(self) -> None:
        told = self.customer.ask(ec2.ec2, "DescribeSecurityGroupRules")["SecurityGroupRules"]
        rules: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
        for rule in told:
            peer = rule.get("CidrIpv4") or rule.get("ReferencedGroupInfo", {}).get("GroupId")
            ports = None if rule["IpProtocol"] == "-1" else rule["FromPort"]
            rules[rule["GroupId"]].add(("egress" if rule["IsEgress"] else "ingress", rule["IpProtocol"], ports, peer))
        for (group, port), possible in self.customer.promises.rules.items():
            is_open = ("ingress", "tcp", port, "0.0.0.0/0") in rules[group]
            assert is_open in possible, f"port {port} of {group}: open is {is_open}, promised was {possible}"
        for fabric in self.nature.networks.fabrics.values():
            for group, applied in fabric.groups.items():
                seen = {(r.direction, r.protocol, None if r.protocol == "-1" else r.from_port, r.peer)
                        for r in applied}
                assert seen == rules[group], f"rules of {group}: {seen ^ rules[group]}"

    def check_logs(self, tasks: list[Task]) -> None:
        for task in tasks:
            family = task.revision.partition(":")[0]
            for position, container in enumerate(task.containers):
                name = self.name(task, position)
                got = self._lines(f"/{family}", f"s/{container.name}/{task.id}")
                said = self.nature.said.get(name, [])
                if name in self.nature.forgotten:
                    rest = iter(said)
                    assert all(line in rest for line in got), f"the log of {name} is not what it said: {got} {said}"
                else:
                    assert got == said, f"the log of {name} has {len(got)} lines of {len(said)}: {got} {said}"

    def _lines(self, group: str, stream: str) -> list[str]:
        request: dict[str, Any] = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
        lines: list[str] = []
        token = None
        while True:
            try:
                answer = self.customer.ask(logs.logs, "GetLogEvents", **request, **({"nextToken": token} if token
                                                                                    else {}))
            except AwsError as error:
                if error.code != "ResourceNotFoundException":
                    raise
                return lines
            lines += [event["message"] for event in answer["events"]]
            if answer["nextForwardToken"] == token or not answer["events"]:
                return lines
            token = answer["nextForwardToken"]


def _difference(wanted: dict[str, bool], there: dict[str, bool]) -> str:
    return " ".join(f"{name}: wanted {wanted.get(name)}, there {there.get(name)};"
                    for name in sorted(wanted.keys() | there.keys()) if wanted.get(name) != there.get(name))
