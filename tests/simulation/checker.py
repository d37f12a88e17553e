"""Compares, when all is quiet, what the customer was promised, what the control plane tells, and what is there."""

import re
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

from cloudlet.kernel.errors import AwsError
from cloudlet.services import ec2, ecs, logs
from cloudlet.services.ecs.records import Task
from cloudlet.store import queue
from tests.simulation.customer import FAMILIES, SECRET, Customer, ServiceState
from tests.simulation.nature import Nature, Whose
from tests.simulation.plane import Plane


class Checker:
    """`glance` may be asked at any moment, `check` when all should have settled. Both raise AssertionError."""

    def __init__(self, plane: Plane, nature: Nature, customer: Customer) -> None:
        self.plane, self.nature, self.customer = plane, nature, customer
        self.met: Counter[str] = Counter()  # what there was to be judged
        self.power_cut = False

    def tasks(self) -> list[Task]:
        with self.plane.store.look() as tx:
            return tx.find(Task)

    def work(self, key: str) -> str:
        """What the loop last said of a key."""
        return str([work for work in queue.waiting(self.plane.store, 10_000) if work.key == key])

    def glance(self) -> None:
        """What holds at every moment: no promise forgotten, no status without an observation, no exit code made up."""
        assert not self.plane.watcher.complaints, self.plane.watcher.complaints[0]
        tasks, promises = self.tasks(), self.customer.promises
        by_arn = {task.arn: task for task in tasks}
        lost = [arn for arn in promises.tasks if arn not in by_arn]
        assert not lost, f"RunTask was answered, and the task is gone: {lost[0]}"
        ignored = [arn for arn in promises.stopped if by_arn[arn].desired != "STOPPED"]
        assert not ignored, f"StopTask was answered, and the task is to run: {ignored[0]}"
        for task in tasks:
            for container in task.containers:
                names = self.nature.names.get((task.arn, container.name), [])
                if container.status == "RUNNING" or task.status == "RUNNING":
                    assert names, f"{container.name} of {task.id} is told to run and was never started"
                if container.exit_code is not None:
                    codes = {code for name in names for code in self.nature.ended[name]}
                    assert container.exit_code in codes, f"{container.name} of {task.id} did not end with that code"
            self.check_order(task)
            if task.desired == "STOPPED":
                self.met[task.stop_code] = 1
                assert task.stopped_reason, f"{task.id} stopped without a reason"
                assert self.is_true(task), f"{task.id} stopped by {task.stop_code}: {task.stopped_reason}: not so"
        for whose, names in self.nature.names.items():
            starts = sum(self.nature.containers.starts[name] for name in names)
            again = next((container.restarts for container in by_arn[whose[0]].containers
                          if container.name == whose[1]), 0) if whose[0] in by_arn else starts
            assert starts <= 1 + again or self.nature.is_forgotten(whose), f"started {starts} times: {whose} as {names}"

    def check_order(self, task: Task) -> None:
        """Nothing was started before what it waits for had come."""
        for container in task.containers:
            for other, condition in container.depends if (task.arn, container.name) in self.nature.names else ():
                names = self.nature.names.get((task.arn, other), ())
                codes = {code for name in names for code in self.nature.ended[name]}
                came = {"SUCCESS": 0 in codes, "COMPLETE": bool(codes)}.get(condition, bool(names))
                assert came, f"{container.name} of {task.id} was started before {other} came to {condition}: {codes}"

    def is_true(self, task: Task) -> bool:
        """Whether the reason that is told of a task's end is one that there was."""
        names = [(container, name) for container in task.containers
                 for name in self.nature.names.get((task.arn, container.name), ())]
        match task.stop_code:
            case "UserInitiated":
                return task.arn in self.customer.stops
            case "ServiceSchedulerInitiated":
                return bool(task.service)
            case "EssentialContainerExited":
                return any(container.essential and self.nature.ended[name] for container, name in names)
            case "InfrastructureHealth":
                return any(self.nature.is_forgotten((task.arn, container.name)) for container in task.containers)
            case "TaskFailedToStart":
                return self.could_not_start(task)
        return False

    def could_not_start(self, task: Task) -> bool:
        """Whether there was that reason for a task not to start."""
        family, refused = task.revision.partition(":")[0], self.nature.refused
        match re.match(r"[A-Za-z]+Error: |ECS was unable to assume the role|Timeout|Task failed to start",
                       task.stopped_reason):
            case None:
                return False
            case found if found[0].startswith("CannotPull"):
                return (family in ("missing", "unpushed", "pushed")
                        or any(("pull", container.image) in refused for container in task.containers))
            case found if found[0].startswith("CannotStart"):
                return ("start", task.arn) in refused
            case found if found[0].startswith("ResourceInitialization"):
                if "unable to pull secrets" in task.stopped_reason:
                    return family == "roled"
                return family == "pair" and any(what == "ensure_storage" for what, _ in refused)
            case found if found[0].startswith("ECS"):
                return family == "roled"
            case found if found[0].startswith("Task"):
                return any(container.essential and container.started_at is None and container.reason
                           for container in task.containers)
            case found if found[0].startswith("Timeout"):
                return (task.stopping_at or 0.0) - task.created_at >= 600
        return False

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
        self.check_storages()

    def check_nothing_left(self) -> None:
        """After a reset: no record of a customer's, and nothing in the world."""
        with self.plane.store.look() as tx:
            left = tx.execute("select kind, key from record"
                              " where kind not in ('ec2.site', 'ecr.signing_key')").fetchall()
            waiting = tx.execute("select kind, key, why from work").fetchall()
        assert not left, f"a reset left {left[:3]}"
        assert not waiting, f"a reset left work: {waiting[:3]}"
        nature = self.nature
        there = [*nature.containers.bodies, *nature.networks.interfaces, *nature.networks.networks, *nature.doors.open,
                 *nature.storages.storages]
        assert not there, f"a reset left {there[:3]}"

    def check_images(self) -> None:
        """No image stays that no task needs, or needed within the hour."""
        wanted = {container.reference for task in self.tasks() for container in task.containers}
        left = self.nature.images.images.keys() - wanted
        assert not left, f"images leaked: {left}"

    def check_nothing_kept(self) -> None:
        """Long after the last task and service: nothing of them is in the world or on record."""
        nature = self.nature
        there = [*nature.containers.bodies, *nature.networks.interfaces, *nature.networks.networks, *nature.doors.open,
                 *nature.images.images, *nature.storages.storages]
        assert not there, f"still there: {there[:3]}"
        with self.plane.store.look() as tx:
            kept = tx.execute("select kind, key from record where kind in ('ecs.task', 'ecs.service', 'ecs.log',"
                              " 'ec2.network', 'ec2.interface', 'ec2.public-address')").fetchall()
            waiting = tx.execute("select kind, key, why from work where kind in ('ecs.task', 'ecs.service')").fetchall()
        assert not kept, f"still on record: {kept[:3]}"
        assert not waiting, f"still work: {waiting[:3]}"

    def check_tasks(self, tasks: list[Task]) -> None:
        stopped = self.customer.promises.stopped
        for task in tasks:
            assert task.status in ("RUNNING", "STOPPED"), f"{task.id} hangs in {task.status}: {self.work(task.key)}"
            assert task.status == "STOPPED" or task.arn not in stopped, f"StopTask was answered, and {task.id} runs"
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
            words = [event["message"] for event in service[0]["events"]] if service else []
            if (any("rolling back to deployment" in each for each in words)
                    and now.family in self.customer.families[name]):
                self.met["rolled back"] += 1
                possible = [replace(state, family=now.family) if state.desired is not None else state
                            for state in possible]
            assert now in possible, f"{name} is {now}, promised was {possible}"
            if service and now.desired is not None and service[0]["deployments"][0]["rolloutState"] == "FAILED":
                self.met["failed"] += 1
                assert any("deployment failed: tasks failed to start" in each for each in words), f"silent: {name}"
                assert sum(running[name].values()) <= now.desired, f"{name} runs too much: {dict(running[name])}"
            elif now.desired is None or FAMILIES[now.family][1]:
                wanted = Counter({now.family: now.desired}) if now.desired else Counter()
                if service and (running[name] != wanted or len(service[0]["deployments"]) > 1) and (
                        self.is_full(service[0]) or self.is_stuck(service[0])):
                    continue
                assert running[name] == wanted, f"{name} should be {now} and runs {dict(running[name])}"
                if now.desired is not None:
                    assert service[0]["runningCount"] == now.desired, f"{name} counts {service[0]['runningCount']}"
                    assert service[0]["pendingCount"] == 0, f"{name} counts pending tasks"
                    assert len(service[0]["deployments"]) == 1, f"{name} keeps old deployments"

    def is_full(self, service: dict[str, Any]) -> bool:
        """Whether no subnet of the service has an address left; then it must say so, and go on."""
        ids = service["networkConfiguration"]["awsvpcConfiguration"]["subnets"]
        subnets = self.customer.ask(ec2.ec2, "DescribeSubnets", SubnetIds=ids)["Subnets"]
        if any(subnet["AvailableIpAddressCount"] for subnet in subnets):
            return False
        words = [event["message"] for event in service["events"]]
        assert any("was unable to place a task" in each and "addresses" in each for each in words), f"silent: {words}"
        self.met["full"] += 1
        return True

    def is_stuck(self, service: dict[str, Any]) -> bool:
        """Whether the service's own percentages forbid to begin; then it must say so, and go on."""
        name, wanted, rules = service["serviceName"], service["desiredCount"], service["deploymentConfiguration"]
        least, most = rules["minimumHealthyPercent"], rules["maximumPercent"]
        if not wanted or -(-wanted * least // 100) < wanted or wanted * most // 100 > wanted:
            return False
        words = [event["message"] for event in service["events"]]
        assert any("was unable to stop or start tasks during a deployment" in each for each in words), f"silent: {name}"
        assert service["deployments"][0]["rolloutState"] == "IN_PROGRESS", "completed without a deployment"
        self.met["stuck"] += 1
        return True

    def check_containers(self, tasks: list[Task]) -> None:
        wanted = {(task.arn, container.name): [container.status == "RUNNING"]
                  for task in tasks if task.status != "STOPPED" for container in task.containers}
        there: dict[Whose, list[bool]] = defaultdict(list)
        families = {task.arn: task.revision.partition(":")[0] for task in tasks}
        for body in self.nature.containers.bodies.values():
            secret = dict(body.spec.environment).get("SECRET")
            assert secret == (SECRET if families.get(self.nature.whose(body.spec)[0]) == "roled" else None), secret
            there[self.nature.whose(body.spec)].append(body.seen.state == "running")
        for whose in wanted.keys() | there.keys():
            if wanted.get(whose) == [False] and whose not in there and self.nature.is_forgotten(whose):
                continue  # its end was seen before
            assert wanted.get(whose) == there.get(whose), (
                f"{whose[1]} of {whose[0]}: wanted {wanted.get(whose)}, there {there.get(whose)} (does it run?)")

    def check_storages(self) -> None:
        """What runs has its volumes, and nothing else has any."""
        bodies, storages = self.nature.containers.bodies.values(), self.nature.storages.storages
        there = {f"/volumes/{name}/{volume}" for name, volumes in storages.items() for volume in volumes}
        used = {mount.source for body in bodies for mount in body.spec.mounts if body.seen.state == "running"}
        assert used <= there, f"volumes lost: {used - there}"
        left = storages.keys() - {body.spec.group.name for body in bodies}
        assert not left, f"volumes leaked: {left}"

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
        members = {(address.private, member.groups, address.public) for fabric in networks.fabrics.values()
                   for member in fabric.members for address in member.addresses}
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
            for container in task.containers:
                whose = task.arn, container.name
                got = self._lines(f"/{family}", f"s/{container.name}/{task.id}")
                said = [line for name in self.nature.names.get(whose, ()) for line in self.nature.said[name]]
                if self.plane.clock.offset:  # events are kept in the order of the times they bear
                    got, said = sorted(got), sorted(said)
                if self.nature.is_forgotten(whose):
                    rest = iter(said)
                    assert all(line in rest for line in got), f"the log of {whose} is not what it said: {got} {said}"
                else:
                    assert got == said, f"the log of {whose} has {len(got)} lines of {len(said)}: {got} {said}"

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

