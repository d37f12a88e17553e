"""The names by which customers point at things: short names, ids and ARNs of clusters, tasks, services, definitions."""

import re

from cloudlet.kernel.call import Call
from cloudlet.kernel.names import Arn
from cloudlet.services.ecs.api import (
    ClientException,
    ClusterNotFoundException,
    InvalidParameterException,
    ServiceNotFoundException,
)
from cloudlet.services.ecs.records import Cluster, Service, Task
from cloudlet.store.db import Tx

DEFAULT_CLUSTER = "default"
NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


def local_resource(call: Call, text: str, kind: str) -> str | None:
    """What follows `kind/` in an ARN of ours, the text itself where it is no ARN, None for an ARN of somebody else."""
    if not text.startswith("arn:"):
        return text
    arn = Arn.parse(text)
    if arn is None or arn.service != "ecs" or not arn.resource.startswith(f"{kind}/"):
        raise InvalidParameterException(f"Invalid identifier: {text}")
    if (arn.account, arn.region) != (call.account, call.region):
        return None
    return arn.resource.removeprefix(f"{kind}/")


def cluster_name(call: Call, text: str | None) -> str | None:
    """The short name of a cluster given by name, ARN, or not at all (then "default"); None for one of another account
    or region."""
    return local_resource(call, text or DEFAULT_CLUSTER, "cluster")


def cluster_arn(call: Call, text: str | None) -> str:
    """The ARN of a cluster given by name or ARN, for policies."""
    text = text or DEFAULT_CLUSTER
    return text if text.startswith("arn:") else call.arn("ecs", f"cluster/{text}")


def active_cluster(call: Call, tx: Tx, text: str | None) -> Cluster:
    """The cluster meant. Raises ClusterNotFoundException where it is not there or was deleted."""
    name = cluster_name(call, text)
    cluster = tx.get(Cluster, f"{call.scope}/{name}") if name else None
    if cluster is None:
        raise ClusterNotFoundException()
    if cluster.status != "ACTIVE":
        raise ClusterNotFoundException("The referenced cluster was inactive.")
    return cluster


def in_cluster(call: Call, text: str, kind: str, cluster: str) -> str | None:
    """The last part of a task's or service's id or ARN. Raises InvalidParameterException for one of another cluster."""
    path = local_resource(call, text, kind)
    if path is None or "/" not in path:
        return path
    home, _, name = path.partition("/")
    if home != cluster:
        raise InvalidParameterException(
            f"Invalid identifier: Identifier is for cluster {home}. Your cluster is {cluster}")
    return name


def find_task(call: Call, tx: Tx, cluster: str, text: str) -> Task | None:
    """A task by id or ARN. Raises InvalidParameterException for what cannot be a task's id."""
    name = in_cluster(call, text, "task", cluster)
    if name is not None and len(name) not in (32, 36):
        raise InvalidParameterException("taskId length should be one of [32,36]")
    return tx.get(Task, f"{call.scope}/{cluster}/{name}") if name else None


def find_service(call: Call, tx: Tx, cluster: str, text: str) -> Service | None:
    """A service by name or ARN."""
    name = in_cluster(call, text, "service", cluster)
    return tx.get(Service, f"{call.scope}/{cluster}/{name}") if name else None


def known_service(call: Call, tx: Tx, cluster: str, text: str) -> Service:
    """A service by name or ARN. Raises ServiceNotFoundException."""
    service = find_service(call, tx, cluster, text)
    if service is None:
        raise ServiceNotFoundException()
    return service


def task_arn(call: Call, cluster: str | None, text: str) -> str:
    """The ARN of a task given by id or ARN, for policies."""
    return text if text.startswith("arn:") else call.arn("ecs", f"task/{_short(cluster)}/{text}")


def service_arn(call: Call, cluster: str | None, text: str) -> str:
    """The ARN of a service given by name or ARN, for policies."""
    return text if text.startswith("arn:") else call.arn("ecs", f"service/{_short(cluster)}/{text}")


def _short(cluster: str | None) -> str:
    return (cluster or DEFAULT_CLUSTER).rsplit("/", 1)[-1]


def definition_arn(call: Call, text: str) -> str:
    """The ARN of a task definition given as family, family:revision or ARN, for policies (no revision: any)."""
    if text.startswith("arn:"):
        return text
    return call.arn("ecs", f"task-definition/{text if ':' in text else text + ':*'}")


def revision(call: Call, text: str) -> tuple[str, int | None] | None:
    """Family and revision (None: the latest) of a definition given as family, family:revision or ARN; None for one of
    another account or region. Raises ClientException for a revision that is no number."""
    name = local_resource(call, text, "task-definition")
    if name is None:
        return None
    family, colon, number = name.partition(":")
    if not colon:
        return family, None
    if not number.isdecimal() or not number.isascii() or len(number) > 9:
        raise ClientException(f"Invalid revision number. Number: {number}")
    return family, int(number)
