"""Task definitions: families, revisions, and what they say."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, any_resource
from cloudlet.services.ecs.api import ClientException, InvalidParameterException, ecs
from cloudlet.services.ecs.arns import definition_arn, revision
from cloudlet.services.ecs.definition_rules import normalized
from cloudlet.services.ecs.passing import check_roles
from cloudlet.services.ecs.records import Definition, Family, Service, Task
from cloudlet.services.ecs.settings import check_tagging
from cloudlet.services.ecs.tags import tag_list, tags_of
from cloudlet.store.db import Store, Tx

DELETED_MAX = 10
LOOK_AGAIN_S = 60.0  # how often a definition being deleted is looked at while something uses it


@ecs.write(resources=lambda call, request: [definition_arn(call, request["family"])])
def register_task_definition(call: Call, tx: Tx, request: Input) -> Any:
    """Makes the next revision of a family."""
    document, tags = normalized(request), tags_of(request)
    check_roles(call, tx, document)
    check_tagging(call, tx, request, definition_arn(call, request["family"]), "RegisterTaskDefinition")
    family = tx.get(Family, f"{call.scope}/{request['family']}")
    number = family.revision + 1 if family else 1
    tx.put(Family(f"{call.scope}/{request['family']}", number))
    definition = Definition(f"{call.scope}/{request['family']}:{number:06d}", call.account, call.region,
                            request["family"], number, document, call.now, call.principal.arn, tags=tags)
    tx.put(definition, wake=False)
    return {"taskDefinition": view(definition), "tags": tag_list(tags)}


def find(call: Call, tx: Tx, text: str) -> Definition | None:
    """The definition meant: a revision whatever its status, or the latest active one of a family."""
    named = revision(call, text)
    if named is None:
        return None
    family, number = named
    if number is not None:
        return tx.get(Definition, f"{call.scope}/{family}:{number:06d}")
    active = [d for d in tx.find(Definition, f"{call.scope}/{family}:") if d.status == "ACTIVE"]
    return active[-1] if active else None


def runnable(call: Call, tx: Tx, text: str, overrides: Mapping[str, Any] | None = None) -> Definition:
    """The definition to start tasks from. Raises ClientException where there is none or it is inactive,
    AccessDeniedException where the caller may not pass its roles, or those of the overrides."""
    definition = find(call, tx, text)
    if definition is None:
        raise ClientException("TaskDefinition not found.")
    if definition.status != "ACTIVE":
        raise ClientException("TaskDefinition is inactive")
    check_roles(call, tx, definition.document, overrides or {})
    return definition


@ecs.read(resources=lambda call, request: [definition_arn(call, request["taskDefinition"])])
def describe_task_definition(call: Call, tx: Tx, request: Input) -> Any:
    """One definition, with its tags where asked."""
    definition = find(call, tx, request["taskDefinition"])
    if definition is None:
        raise ClientException("Unable to describe task definition.")
    answer: dict[str, Any] = {"taskDefinition": view(definition)}
    if "TAGS" in (request.get("include") or ()):
        answer["tags"] = tag_list(definition.tags)
    return answer


@ecs.read(resources=any_resource)
def list_task_definitions(call: Call, tx: Tx, request: Input) -> Any:
    """ARNs by family and revision; active ones unless another status is asked for."""
    family, status = request.get("familyPrefix"), request.get("status") or "ACTIVE"
    prefix = f"{call.scope}/{family}:" if family else f"{call.scope}/"
    found = [d for d in tx.find(Definition, prefix) if d.status == status]
    found.sort(key=lambda d: (d.family, d.revision), reverse=request.get("sort") == "DESC")
    return {"taskDefinitionArns": [d.arn for d in found]}


@ecs.read(resources=any_resource)
def list_task_definition_families(call: Call, tx: Tx, request: Input) -> Any:
    """Family names that begin with a prefix; those with an active revision, without one, or all (the default)."""
    status, active = request.get("status") or "ALL", dict[str, bool]()
    for definition in tx.find(Definition, f"{call.scope}/{request.get('familyPrefix') or ''}"):
        if definition.status != "DELETE_IN_PROGRESS":
            active[definition.family] = active.get(definition.family, False) or definition.status == "ACTIVE"
    return {"families": sorted(name for name, alive in active.items()
                               if status == "ALL" or alive == (status == "ACTIVE"))}


@ecs.write(resources=lambda call, request: [definition_arn(call, request["taskDefinition"])])
def deregister_task_definition(call: Call, tx: Tx, request: Input) -> Any:
    """Makes a revision inactive: what runs goes on, nothing new starts from it."""
    named = revision(call, request["taskDefinition"])
    if named is not None and named[1] is None:
        raise InvalidParameterException("Missing revision: specify family:revision or the full ARN.")
    definition = find(call, tx, request["taskDefinition"])
    if definition is None:
        raise ClientException("The specified task definition does not exist.")
    if definition.status == "ACTIVE":
        definition = replace(definition, status="INACTIVE", deregistered_at=call.now)
        tx.put(definition, wake=False)
    return {"taskDefinition": view(definition)}


@ecs.write(resources=lambda call, request: [definition_arn(call, text) for text in request["taskDefinitions"]])
def delete_task_definitions(call: Call, tx: Tx, request: Input) -> Any:
    """Deletes inactive revisions: at once where nothing uses them, else when the last task and service stopped."""
    asked, deleted, failures = request["taskDefinitions"], [], []
    if not 1 <= len(asked) <= DELETED_MAX:
        raise InvalidParameterException(f"Between 1 and {DELETED_MAX} task definitions can be deleted at a time.")
    for text in asked:
        named = revision(call, text)
        if named is not None and named[1] is None:
            raise InvalidParameterException("Missing revision: specify family:revision or the full ARN.")
        definition = find(call, tx, text)
        if definition is None:
            reason = "The specified task definition does not exist."
        elif definition.status == "ACTIVE":
            reason = ("The specified task definition is still in ACTIVE status. Please deregister the target and try"
                      " again.")
        else:
            if definition.status == "INACTIVE":
                definition = replace(definition, status="DELETE_IN_PROGRESS", delete_requested_at=call.now)
                tx.put(definition)
            deleted.append(view(definition))
            continue
        failures.append({"arn": definition_arn(call, text), "reason": reason})
    return {"taskDefinitions": deleted, "failures": failures}


def view(definition: Definition) -> dict[str, Any]:
    """A definition as the API speaks it."""
    times = (("deregisteredAt", definition.deregistered_at), ("deleteRequestedAt", definition.delete_requested_at))
    return {**definition.document, "taskDefinitionArn": definition.arn, "revision": definition.revision,
            "status": definition.status, "registeredAt": definition.registered_at,
            "registeredBy": definition.registered_by, **{name: at for name, at in times if at is not None}}


def in_use(tx: Tx, key: str) -> bool:
    """Whether a task that has not stopped, or a service that is not gone, was made from the definition."""
    users: Iterable[type] = (Task, Service)
    return any(tx.count(kind, definition=key) for kind in users)


async def reconcile(store: Store, key: str) -> Outcome:
    """Removes a definition that is being deleted as soon as nothing uses it."""
    with store.tx() as tx:
        definition = tx.get(Definition, key)
        if definition is None or definition.status != "DELETE_IN_PROGRESS":
            return Done()
        if in_use(tx, key):
            return Again(LOOK_AGAIN_S, "tasks or services still use it")
        tx.delete(Definition, key)
    return Done()
