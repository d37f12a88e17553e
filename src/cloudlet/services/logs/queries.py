"""Insights queries: started, stopped, described, and their results; a loop does the work (query_loop.py)."""

import dataclasses
import uuid
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.logs import query_results
from cloudlet.services.logs.groups import DAY_MS, Group, find_group, requested_group, requested_name
from cloudlet.services.logs.insights.parser import LIMIT_MAX
from cloudlet.services.logs.insights.plan import Plan
from cloudlet.services.logs.insights.syntax import Malformed
from cloudlet.services.logs.service import InvalidParameter, LimitExceeded, MalformedQuery, ResourceNotFound, logs
from cloudlet.store.db import Tx
from cloudlet.store.records import record

KIND = "logs.query"
GROUPS_MAX, CONCURRENT_MAX = 50, 100
KEPT_S = 7 * 86_400.0  # how long a query and its results are kept
SECONDS_MAX = 100_000_000_000  # times beyond this are milliseconds, as many clients send them
SCHEDULED, RUNNING, COMPLETE, FAILED, CANCELLED, TIMEOUT = ("Scheduled", "Running", "Complete", "Failed", "Cancelled",
                                                            "Timeout")
ACTIVE = (SCHEDULED, RUNNING)


@dataclasses.dataclass(frozen=True, slots=True)
class Statistics:
    """What was looked at so far, measured."""

    scanned: int = 0
    matched: int = 0
    bytes: int = 0
    groups: int = 0


@record(KIND, indexes={"active": lambda query: f"{query.account}/{query.region}" if query.status in ACTIVE else None})
class Query:
    """A query. `asked` are its groups as they were named; it reads start_ms <= time <= end_ms."""

    key: str
    account: str
    region: str
    id: str
    text: str
    groups: tuple[str, ...]
    asked: tuple[str, ...]
    start_ms: int
    end_ms: int
    limit: int
    created: float
    user: str
    status: str = SCHEDULED
    started: float = 0.0
    ended: float = 0.0
    statistics: Statistics = Statistics()
    rows: int = 0

    def plan(self) -> Plan:
        """Ready to run. Raises Malformed."""
        return Plan(self.text, self.created, self.limit)


@logs.write(resources=lambda call, request: [call.arn("logs", f"log-group:{name}:log-stream:")
                                             for name, _ in _asked(call, request)])
def start_query(call: Call, tx: Tx, request: Input) -> Output:
    """Starts a query over up to fifty groups; at most a hundred run at a time."""
    if request.get("queryLanguage", "CWLI") != "CWLI":
        raise InvalidParameter("Only the query language CWLI is supported.")
    asked = _asked(call, request)
    groups = [_group(call, tx, name) for name, _ in asked]
    start_ms, end_ms = _milliseconds(request["startTime"], 0), _milliseconds(request["endTime"], 999)
    if start_ms > end_ms:
        raise InvalidParameter("The start time of a query must not be after its end time.")
    limit = request.get("limit") or LIMIT_MAX
    if limit > LIMIT_MAX:
        raise InvalidParameter(f"A limit above {LIMIT_MAX} is not supported.")
    query_id = str(uuid.UUID(tx.token(32)))
    query = Query(f"{call.scope}/{query_id}", call.account, call.region, query_id, request["queryString"],
                  tuple(group.name for group in groups), tuple(text for _, text in asked), start_ms, end_ms, limit,
                  tx.now, call.principal.arn)
    _check(query, groups)
    if tx.count(Query, active=call.scope) >= CONCURRENT_MAX:
        raise LimitExceeded(f"Account maximum query concurrency limit of [{CONCURRENT_MAX}] reached.")
    tx.put(query)
    tx.enqueue(KIND, query.key)
    return {"queryId": query_id}


def _asked(call: Call, request: Input) -> list[tuple[str, str]]:
    """The groups that a request names: their names, and what it says."""
    one, names, identifiers = (request.get(key) for key in ("logGroupName", "logGroupNames", "logGroupIdentifiers"))
    if sum(each is not None for each in (one, names, identifiers)) != 1:
        raise InvalidParameter("Exactly one of logGroupName, logGroupNames or logGroupIdentifiers must be specified.")
    texts = list(dict.fromkeys([one] if one is not None else names or identifiers or []))
    if not 1 <= len(texts) <= GROUPS_MAX:
        raise InvalidParameter(f"A query can be of 1 to {GROUPS_MAX} log groups.")
    by = "logGroupName" if identifiers is None else "logGroupIdentifier"
    return [(requested_name(call, {by: text}), text) for text in texts]


def _group(call: Call, tx: Tx, name: str) -> Group:
    try:
        return find_group(tx, call.account, call.region, name)
    except ResourceNotFound:
        raise ResourceNotFound(f"Log group '{name}' does not exist for account ID '{call.account}'") from None


def _milliseconds(time: int, rest: int) -> int:
    return time if time > SECONDS_MAX else time * 1000 + rest


def _check(query: Query, groups: list[Group]) -> None:
    try:
        query.plan()
    except Malformed as error:
        raise MalformedQuery(error.message, queryCompileError={"message": error.message, "location": {
            "startCharOffset": error.start, "endCharOffset": error.end}}) from None
    if all(query.end_ms < max(group.oldest_ms(query.created), int(group.created * 1000) - 14 * DAY_MS)
           for group in groups):
        raise MalformedQuery("Query's end date and time is either before the log groups creation time or exceeds the"
                             " log groups log retention settings")


def _find(call: Call, tx: Tx, request: Input) -> Query:
    query = tx.get(Query, f"{call.scope}/{request['queryId']}")
    if query is None:
        raise ResourceNotFound("Query with id " + request["queryId"] + " does not exist")
    return query


@logs.read(resources=any_resource)
def get_query_results(call: Call, tx: Tx, request: Input) -> Output:
    """A query's status, what it has looked at so far, and once it is complete its rows, a page at a time."""
    query = _find(call, tx, request)
    rows, token = query_results.page(tx, query.id, query.rows, request.get("nextToken"), request.get("maxItems"))
    answer: dict[str, Any] = {
        "queryLanguage": "CWLI", "status": query.status, "results": rows, "statistics": {
            "recordsMatched": query.statistics.matched, "recordsScanned": query.statistics.scanned,
            "bytesScanned": query.statistics.bytes, "logGroupsScanned": query.statistics.groups,
            "estimatedRecordsSkipped": 0, "estimatedBytesSkipped": 0, "resultCount": query.rows}}
    return {**answer, "nextToken": token} if token else answer


@logs.write(resources=any_resource)
def stop_query(call: Call, tx: Tx, request: Input) -> Output:
    """Ends a query that has not ended yet."""
    query = _find(call, tx, request)
    if query.status not in ACTIVE:
        raise InvalidParameter("The specified query is not running.")
    tx.put(dataclasses.replace(query, status=CANCELLED, ended=tx.now))
    tx.enqueue(KIND, query.key)
    return {"success": True}


@logs.read(resources=lambda call, request: [call.arn("logs", "log-group::log-stream:")])
def describe_queries(call: Call, tx: Tx, request: Input) -> Output:
    """The queries of the last seven days, the newest first; of one group or with one status, where that is asked."""
    group, status = request.get("logGroupName"), request.get("status")
    if request.get("queryLanguage", "CWLI") != "CWLI":
        return {"queries": []}
    found = [query for query in tx.find(Query, f"{call.scope}/")
             if group in (None, *query.groups) and status in (None, query.status)]
    found.sort(key=lambda query: (-query.created, query.id))
    return {"queries": [_described(query, tx.now) for query in found]}


def _described(query: Query, now: float) -> dict[str, Any]:
    ended = query.ended or now
    return {"queryLanguage": "CWLI", "queryId": query.id, "queryString": query.text, "status": query.status,
            "createTime": int(query.created * 1000), "logGroupName": query.groups[0], "userIdentity": query.user,
            "queryDuration": int(1000 * (ended - query.started)) if query.started else 0,
            "bytesScanned": query.statistics.bytes}


@logs.read(resources=any_resource)
def list_log_groups_for_query(call: Call, tx: Tx, request: Input) -> Output:
    """A query's groups, as they were named."""
    return {"logGroupIdentifiers": list(_find(call, tx, request).asked)}


@logs.read(resources=any_resource)
def get_log_record(call: Call, tx: Tx, request: Input) -> Output:
    """An event in full, by the `@ptr` of a row: all its fields, times in milliseconds."""
    name, stream, place = query_results.place_at(request["logRecordPointer"])
    group = requested_group(call, tx, {"logGroupName": name})
    record = query_results.log_record(tx, group, stream, place)
    if record is None:
        raise ResourceNotFound("The specified log record does not exist.")
    return {"logRecord": record}
