"""The customer: what it asks at random, and what it was promised."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.service import Service
from cloudlet.services import ec2, ecr, ecs, iam, logs, ssm
from cloudlet.services.ecr.records import Image, Repository, Tag
from tests.simulation.nature import Nature
from tests.simulation.plane import Died, Plane

ACCOUNT = "123456789012"
ROOT = Principal("root", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
FAMILIES = {  # family -> (its images, essential first; whether its tasks can run for long)
    "web": (["web:1"], True), "web-next": (["web:1"], True), "stubborn": (["stubborn:1"], True),
    "pair": (["web:1", "sidecar:1"], True), "job": (["job:1"], False), "crashing": (["crashing:1"], False),
    "missing": (["missing:1"], False), "pushed": ([f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/app:1"], True),
    "unpushed": ([f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/app:2"], False), "roled": (["web:1"], True),
    "healthy": (["slow:1"], True), "ordered": (["web:1", "job-ok:1", "sidecar:1"], True),
    "hopeless": (["web:1", "job:1"], False), "flaky": (["flaky:1"], True)}
MORE: dict[str, list[dict[str, Any]]] = {  # family -> what its containers say beside their images
    "pair": [{"mountPoints": [{"sourceVolume": "shared", "containerPath": "/shared"}]},
             {"volumesFrom": [{"sourceContainer": "c0", "readOnly": True}]}],
    "healthy": [{"healthCheck": {"command": ["CMD", "ok"], "interval": 5, "timeout": 2, "retries": 3}}],
    "ordered": [{"dependsOn": [{"containerName": "c1", "condition": "SUCCESS"},
                               {"containerName": "c2", "condition": "COMPLETE"}]}, {}, {}],
    "hopeless": [{"dependsOn": [{"containerName": "c1", "condition": "SUCCESS"}]}, {}],
    "roled": [{"secrets": [{"name": "SECRET", "valueFrom": "/secret"}]}],
    "flaky": [{"restartPolicy": {"enabled": True, "restartAttemptPeriod": 60}}]}
REPOSITORY, DIGEST = f"{ACCOUNT}/us-east-1/app", "sha256:" + "a" * 64
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
SECRET = "what nobody may see"
READ = json.dumps({"Version": "2012-10-17", "Statement": {
    "Effect": "Allow", "Action": "ssm:GetParameters", "Resource": f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/secret"}})
# Families that services are made of.
SERVED = ["web", "web", "web-next", "pair", "stubborn", "pushed", "roled", "healthy", "ordered"]


def trust(service: str) -> str:
    """A trust policy for one service."""
    return json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}})


@dataclass(frozen=True)
class ServiceState:
    """What a service was told to be: so many tasks of a family; deleted, or never made, where `desired` is None."""

    desired: int | None
    family: str = ""


@dataclass
class Promises:
    """`tasks`: all whose RunTask was answered; `stopped`: all whose StopTask was; `services`: what each may be now
    (several states where an answer was lost)."""

    tasks: list[str] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)
    services: dict[str, list[ServiceState]] = field(default_factory=dict)
    rules: dict[tuple[str, int], set[bool]] = field(default_factory=dict)  # (group, port) -> open? (either: lost)

    def copy(self) -> "Promises":
        """As they stand now."""
        return Promises(list(self.tasks), set(self.stopped), {k: list(v) for k, v in self.services.items()},
                        {k: set(v) for k, v in self.rules.items()})


class Customer:
    """Asks the control plane through its operations. `stops` are the tasks whose end it asked for, answered or
    not; `families` are those that each service was ever asked to run."""

    def __init__(self, plane: Plane, seed: int) -> None:
        self.plane, self.random = plane, random.Random(f"customer {seed}")
        self.promises = Promises()
        self.subnets: list[str] = []
        self.groups: list[str] = []
        self.named = 0
        self.stops: set[str] = set()
        self.families: dict[str, set[str]] = {}
        self.moves: list[Callable[[], str]] = [
            self.run_tasks, self.run_tasks, self.stop_task, self.stop_task, self.stop_task, self.create_service,
            self.update_service, self.update_service, self.update_service, self.delete_service, self.change_rule,
            self.break_something, self.protect]
        if seed % 3 == 1:  # one who changes services over and over, before the last change is through
            self.moves += [self.create_service, self.create_service, *[self.update_service] * 8]

    def ask(self, service: Service, operation: str, /, **request: Any) -> Any:
        """One operation. Raises AwsError, or Died where the process died in it."""
        call = Call("request", ACCOUNT, "us-east-1", ROOT, self.plane.clock.now(), "http://localhost:4599")
        with self.plane.store.tx() as tx:
            return service.operations[operation].run(call, tx, request)

    def settle_in(self) -> None:
        """What is there before anything goes wrong: a second VPC with a public subnet, groups, definitions."""
        found = self.ask(ec2.ec2, "DescribeSubnets")["Subnets"]
        self.subnets = [found[0]["SubnetId"], found[1]["SubnetId"]]
        vpc = self.ask(ec2.ec2, "CreateVpc", CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
        subnet = self.ask(ec2.ec2, "CreateSubnet", VpcId=vpc, CidrBlock="10.7.1.0/26")["Subnet"]["SubnetId"]
        tight = self.ask(ec2.ec2, "CreateSubnet", VpcId=vpc, CidrBlock="10.7.2.0/28")["Subnet"]["SubnetId"]
        self.subnets += [subnet, tight]
        self.ask(ssm.ssm, "PutParameter", Name="/secret", Type="SecureString", Value=SECRET)
        for vpc_id in (found[0]["VpcId"], vpc):
            self.groups.append(self.ask(ec2.ec2, "CreateSecurityGroup", GroupName="g", Description="g",
                                        VpcId=vpc_id)["GroupId"])
        for family, (images, _) in FAMILIES.items():
            self.ask(ecs.ecs, "RegisterTaskDefinition", family=family, networkMode="awsvpc", cpu="256", memory="512",
                     requiresCompatibilities=["FARGATE"],
                     executionRoleArn=ROLE if family == "roled" else f"arn:aws:iam::{ACCOUNT}:role/execution",
                     **({"taskRoleArn": ROLE} if family == "roled" else {}),
                     **({"volumes": [{"name": "shared"}]} if family == "pair" else {}),
                     containerDefinitions=[{
                         "name": f"c{position}", "image": image, "essential": position == 0, "stopTimeout": 5,
                         "logConfiguration": {"logDriver": "awslogs", "options": {
                             "awslogs-group": f"/{family}", "awslogs-region": "us-east-1",
                             "awslogs-stream-prefix": "s"}}}
                         | (MORE[family][position] if family in MORE else {})
                         for position, image in enumerate(images)])
            self.ask(logs.logs, "CreateLogGroup", logGroupName=f"/{family}")
        self.ask(ecs.ecs, "CreateCluster", clusterName="default")
        self.ask(ecr.ecr, "CreateRepository", repositoryName="app")
        self.repair()

    def push(self) -> None:
        """The image app:1, as a push leaves it."""
        with self.plane.store.tx() as tx:
            assert tx.get(Repository, REPOSITORY)
            tx.put(Image(f"{REPOSITORY}@{DIGEST}", REPOSITORY, DIGEST, "application/vnd.oci.image.manifest.v1+json",
                         None, 1, (), (), None, tx.now))
            tx.put(Tag(f"{REPOSITORY}:1", f"{REPOSITORY}@{DIGEST}"))

    def meet(self, nature: Nature) -> None:
        """The world in which its tasks run."""
        nature.has_image = self.has_image

    def has_image(self, reference: str) -> bool:
        """Whether our registry would answer a pull."""
        if not reference.endswith(DIGEST) or self.plane.store.dead:
            return True
        with self.plane.store.look() as tx:
            return tx.get(Image, f"{REPOSITORY}@{DIGEST}") is not None

    def move(self) -> str:
        """Does one thing at random; what, in words."""
        return self.random.choice(self.moves)()

    def network(self) -> dict[str, Any]:
        """Where a task or service is to be: in one VPC or the other."""
        where = self.random.choice(("default", "own", "tight", "tight"))
        own = where != "default"
        subnets = {"default": self.subnets[:2], "own": self.subnets[2:3], "tight": self.subnets[3:]}[where]
        return {"awsvpcConfiguration": {
            "subnets": subnets, "securityGroups": [self.groups[own]] if self.random.random() < 0.7 else [],
            "assignPublicIp": self.random.choice(("ENABLED", "DISABLED"))}}

    def run_tasks(self) -> str:
        """RunTask."""
        family = self.random.choice([*FAMILIES, "web", "web", "pair", "stubborn"])
        count = self.random.randint(1, 3)
        answer = self.ask(ecs.ecs, "RunTask", taskDefinition=family, count=count, launchType="FARGATE",
                          networkConfiguration=self.network())
        self.promises.tasks += [task["taskArn"] for task in answer["tasks"]]
        assert len(answer["tasks"]) + len(answer["failures"]) == count, answer
        return f"RunTask {count} {family}: {' '.join(task['taskArn'][-6:] for task in answer['tasks'])}"

    def stop_task(self) -> str:
        """StopTask, preferably of a task that is just being made, when the loops write as well."""
        if not self.promises.tasks:
            return self.run_tasks()
        recent = self.ask(ecs.ecs, "DescribeTasks", tasks=self.promises.tasks[-12:])["tasks"]
        moving = [task for task in recent if task["lastStatus"] not in ("RUNNING", "STOPPED")]
        arn = self.random.choice(moving or recent)["taskArn"]
        self.stops.add(arn)
        self.ask(ecs.ecs, "StopTask", task=arn)
        self.promises.stopped.add(arn)
        return f"StopTask {arn[-6:]}"

    def create_service(self) -> str:
        """CreateService, a few in all."""
        if self.named >= 3:
            return self.update_service()
        self.named += 1
        family = self.random.choice([*SERVED, "crashing", "missing"])
        network = self.network()
        tight = network["awsvpcConfiguration"]["subnets"] == self.subnets[3:]
        return self._service(f"service{self.named}", ServiceState(self.random.randint(0, 4) + 8 * tight, family),
                             "CreateService", launchType="FARGATE", networkConfiguration=network,
                             deploymentConfiguration=self.percentages())

    def percentages(self) -> dict[str, Any]:
        """How carefully a deployment goes."""
        least, most = self.random.choice([(100, 200), (100, 200), (50, 100), (0, 100), (50, 150), (100, 150),
                                          (75, 125)])
        breaker = self.random.random() < 0.6
        return {"minimumHealthyPercent": least, "maximumPercent": most, "deploymentCircuitBreaker": {
            "enable": breaker, "rollback": breaker and self.random.random() < 0.7}}

    def update_service(self) -> str:
        """UpdateService: another number, another definition, another network, or a new deployment of the same."""
        if not self.promises.services:
            return self.run_tasks()
        name = self.random.choice(sorted(self.promises.services))
        more: dict[str, Any] = {}
        if self.random.random() < 0.3:
            more["forceNewDeployment"] = True
        if self.random.random() < 0.2:
            more["networkConfiguration"] = self.network()
        if self.random.random() < 0.3:
            more["deploymentConfiguration"] = self.percentages()
        family = self.random.choice([*SERVED, *SERVED, "crashing", "missing", "unpushed", "hopeless"])
        return self._service(name, ServiceState(self.random.randint(0, 6), family), "UpdateService", **more)

    def delete_service(self) -> str:
        """DeleteService, sometimes."""
        if not self.promises.services or self.random.random() < 0.5:
            return self.stop_task()
        return self._service(self.random.choice(sorted(self.promises.services)), ServiceState(None), "DeleteService")

    def _service(self, name: str, state: ServiceState, operation: str, **request: Any) -> str:
        known = self.promises.services.setdefault(name, [ServiceState(None)])
        self.families.setdefault(name, set()).add(state.family)
        if operation == "DeleteService":
            request = {"service": name, "force": True}
        else:
            request |= {"serviceName" if operation == "CreateService" else "service": name,
                        "desiredCount": state.desired, "taskDefinition": state.family}
        try:
            self.ask(ecs.ecs, operation, **request)
        except Died:
            known.append(state)
            raise
        self.promises.services[name] = [state]
        return f"{operation} {name} {state}"

    def protect(self) -> str:
        """UpdateTaskProtection: a few tasks of a service for some minutes, or no longer."""
        if not self.promises.services:
            return self.run_tasks()
        name = self.random.choice(sorted(self.promises.services))
        tasks = self.ask(ecs.ecs, "ListTasks", serviceName=name)["taskArns"][:2]
        if not tasks:
            return self.update_service()
        self.ask(ecs.ecs, "UpdateTaskProtection", cluster="default", tasks=tasks,
                 protectionEnabled=self.random.random() < 0.8, expiresInMinutes=self.random.choice((1, 3)))
        return f"UpdateTaskProtection {' '.join(arn[-6:] for arn in tasks)}"

    def break_something(self) -> str:
        """What tasks need goes away, under them: the role, its trust, the image; or it comes back."""
        what = self.random.choice(("DeleteRole", "DeleteRolePolicy", "UpdateAssumeRolePolicy", "BatchDeleteImage",
                                   "repair", "repair"))
        if what == "DeleteRolePolicy":
            self.ask(iam.iam, what, RoleName="app", PolicyName="read")
        elif what == "DeleteRole":
            self.ask(iam.iam, "DeleteRolePolicy", RoleName="app", PolicyName="read")
            self.ask(iam.iam, what, RoleName="app")
        elif what == "UpdateAssumeRolePolicy":
            self.ask(iam.iam, what, RoleName="app", PolicyDocument=trust("ec2.amazonaws.com"))
        elif what == "BatchDeleteImage":
            self.ask(ecr.ecr, what, repositoryName="app", imageIds=[{"imageDigest": DIGEST}])
        else:
            self.repair()
        return what

    def repair(self) -> None:
        """All that tasks need is there again."""
        document = trust("ecs-tasks.amazonaws.com")
        try:
            self.ask(iam.iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=document)
        except AwsError as error:
            if error.code != "EntityAlreadyExists":
                raise
            self.ask(iam.iam, "UpdateAssumeRolePolicy", RoleName="app", PolicyDocument=document)
        self.ask(iam.iam, "PutRolePolicy", RoleName="app", PolicyName="read", PolicyDocument=READ)
        self.push()

    def leave(self) -> None:
        """Deletes every service and stops every task."""
        for name in self.promises.services:
            try:
                self.ask(ecs.ecs, "DeleteService", service=name, force=True)
            except AwsError as error:
                if error.code not in ("ServiceNotFoundException", "ServiceNotActiveException"):
                    raise
        for arn in self.promises.tasks:
            self.stops.add(arn)
            self.ask(ecs.ecs, "StopTask", task=arn)

    def change_rule(self) -> str:
        """Opens or closes a port in a group."""
        group, port = self.random.choice(self.groups), self.random.choice((80, 443))
        known = self.promises.rules.setdefault((group, port), {False})
        opens = self.random.random() < 0.6
        operation = f"{'Authorize' if opens else 'Revoke'}SecurityGroupIngress"
        try:
            self.ask(ec2.ec2, operation, GroupId=group, IpPermissions=[{
                "IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
        except Died:
            known.add(opens)
            raise
        except AwsError as error:
            if error.code in ("InvalidPermission.Duplicate", "InvalidPermission.NotFound"):
                self.promises.rules[group, port] = {opens}  # so it is that way already
            return f"{operation} {port}: {error.code}"
        self.promises.rules[group, port] = {opens}
        return f"{operation} {group} {port}"
