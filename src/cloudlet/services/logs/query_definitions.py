"""Query definitions: Insights queries that people keep under a name."""

import uuid
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.paging import InvalidToken, cut
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.logs.service import InvalidParameter, LimitExceeded, ResourceNotFound, logs
from cloudlet.store.db import Tx
from cloudlet.store.records import record

DEFINITIONS_MAX = 1000


@record("logs.query_definition")
class Definition:
    """A query under a name; `parameters` are what `{{name}}` in its text may stand for."""

    key: str
    id: str
    name: str
    text: str
    groups: tuple[str, ...]
    parameters: tuple[dict[str, str], ...]
    modified: float


@logs.write(resources=any_resource)
def put_query_definition(call: Call, tx: Tx, request: Input) -> Output:
    """Keeps a query, or changes one that is kept; nothing of what it was stays."""
    if request.get("queryLanguage", "CWLI") != "CWLI":
        raise InvalidParameter("Only the query language CWLI is supported.")
    known = request.get("queryDefinitionId")
    if known is None:
        if len(tx.find(Definition, f"{call.scope}/", limit=DEFINITIONS_MAX)) == DEFINITIONS_MAX:
            raise LimitExceeded("Resource limit exceeded.")
        known = str(uuid.UUID(tx.token(32)))
    else:
        _find(call, tx, known)
    tx.put(Definition(f"{call.scope}/{known}", known, request["name"], request["queryString"],
                      tuple(request.get("logGroupNames") or ()), tuple(request.get("parameters") or ()), tx.now))
    return {"queryDefinitionId": known}


@logs.read(resources=any_resource)
def describe_query_definitions(call: Call, tx: Tx, request: Input) -> Output:
    """The definitions whose name begins so, in order of name."""
    if request.get("queryLanguage", "CWLI") != "CWLI":
        return {"queryDefinitions": []}
    found = [each for each in tx.find(Definition, f"{call.scope}/")
             if each.name.startswith(request.get("queryDefinitionNamePrefix") or "")]
    found.sort(key=lambda each: (each.name, each.id))
    try:
        shown, token = cut(found, token=request.get("nextToken"), limit=request.get("maxResults") or DEFINITIONS_MAX,
                           identity=lambda each: each.id, scope=call.scope)
    except InvalidToken:
        raise InvalidParameter("The specified nextToken is invalid.") from None
    return {"queryDefinitions": [_described(each) for each in shown], "nextToken": token}


@logs.write(resources=any_resource)
def delete_query_definition(call: Call, tx: Tx, request: Input) -> Output:
    """Forgets a definition."""
    tx.delete(Definition, _find(call, tx, request["queryDefinitionId"]).key)
    return {"success": True}


def _find(call: Call, tx: Tx, definition_id: str) -> Definition:
    found = tx.get(Definition, f"{call.scope}/{definition_id}")
    if found is None:
        raise ResourceNotFound("The specified query definition does not exist.")
    return found


def _described(definition: Definition) -> dict[str, Any]:
    shown: dict[str, Any] = {"queryLanguage": "CWLI", "queryDefinitionId": definition.id, "name": definition.name,
                             "queryString": definition.text, "lastModified": int(definition.modified * 1000),
                             "logGroupNames": list(definition.groups)}
    return {**shown, "parameters": list(definition.parameters)} if definition.parameters else shown
