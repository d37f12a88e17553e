"""Rules that tie a prefix of repository names to another registry, whose images are then pulled through this one.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache.html
"""

import dataclasses
import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from cloudlet.control.outcome import Done, Outcome
from cloudlet.engines.ports import Upstream, Upstreams
from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError, EngineError
from cloudlet.kernel.names import Arn
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ecr.hosts import is_loopback
from cloudlet.services.ecr.service import InvalidParameter, ecr, own_registry
from cloudlet.services.secretsmanager import read_value
from cloudlet.store.db import Store, Tx
from cloudlet.store.records import record

AlreadyExists = ecr.error("PullThroughCacheRuleAlreadyExistsException")
NotFound = ecr.error("PullThroughCacheRuleNotFoundException")
Unsupported = ecr.error("UnsupportedUpstreamRegistryException")
SecretNotFound = ecr.error("SecretNotFoundException")
UnableToAccessSecret = ecr.error("UnableToAccessSecretException")
LimitExceeded = ecr.error("LimitExceededException")

CHECK = "ecr.upstream"  # work: whether the registry of this rule answers
RULES_MAX = 50
ROOT = "ROOT"  # the prefix that every name has
STEPS_MAX, STEP_S = 700, 0.1  # of waiting for a registry's answer

# AWS's names for registries, by their hosts; those that want credentials.
_KNOWN = (("ecr-public", r"public\.ecr\.aws"), ("quay", r"quay\.io"), ("k8s", r"registry\.k8s\.io"),
          ("docker-hub", r"registry-1\.docker\.io"), ("github-container-registry", r"ghcr\.io"),
          ("azure-container-registry", r"[a-z0-9]+\.azurecr\.io"), ("chainguard", r"cgr\.dev"),
          ("gitlab-container-registry", r"registry\.gitlab\.com"))
_WITH_CREDENTIALS = {"docker-hub", "github-container-registry", "azure-container-registry", "gitlab-container-registry",
                     "chainguard"}


@record("ecr.pull_through_rule")
class PullThroughRule:
    """`key` is account/region/prefix. `url` as the customer gave it; `upstream` is AWS's name for that registry, if it
    has one; `upstream_prefix` goes before the names there."""

    key: str
    account: str
    region: str
    prefix: str
    url: str
    created_at: float
    updated_at: float
    upstream: str | None = None
    upstream_prefix: str | None = None
    credential_arn: str | None = None

    def repository(self, name: str) -> str:
        """What a repository of that name is called upstream."""
        rest = name if self.prefix == ROOT else name.removeprefix(self.prefix + "/")
        return rest if self.upstream_prefix in (None, ROOT) else f"{self.upstream_prefix}/{rest}"


@record("ecr.upstream_check")
class UpstreamCheck:
    """What came of asking the registry of a rule; same key. `problem` is empty where it answered."""

    key: str
    tries: int
    problem: str = ""


class _Credentials(msgspec.Struct):
    username: str
    token: str = msgspec.field(name="accessToken")


def find_rule(tx: Tx, account: str, region: str, name: str) -> PullThroughRule | None:
    """The rule for a repository of that name: the one with the longest prefix."""
    rules = [rule for rule in tx.find(PullThroughRule, f"{account}/{region}/")
             if rule.prefix == ROOT or name.startswith(rule.prefix + "/")]
    return max(rules, key=lambda rule: (rule.prefix != ROOT, len(rule.prefix)), default=None)


def upstream_of(tx: Tx, rule: PullThroughRule) -> Upstream:
    """The registry of a rule, with the credentials that its secret holds now.

    A registry on this machine is asked over plain HTTP, as docker does it, unless the URL says otherwise. Raises
    SecretNotFound, UnableToAccessSecret.
    """
    scheme, _, host = rule.url.rpartition("://")
    url = f"{scheme or ('http' if is_loopback(_name(host)) else 'https')}://{host.rstrip('/')}"
    if rule.credential_arn is None:
        return Upstream(url)
    credentials = _credentials(tx, rule.account, rule.region, rule.credential_arn)
    return Upstream(url, credentials.username, credentials.token)


def _credentials(tx: Tx, account: str, region: str, arn: str) -> _Credentials:
    parsed = Arn.parse(arn)
    if parsed is None or parsed.account != account or parsed.region != region:
        raise UnableToAccessSecret(f"The secret {arn} is not of the account {account} in {region}.")
    try:
        value = read_value(tx, account, region, arn)
    except AwsError as error:
        refused = SecretNotFound if error.code == "ResourceNotFoundException" else UnableToAccessSecret
        raise refused(f"The secret {arn} cannot be read: {error.message}") from None
    try:
        return msgspec.json.decode(value, type=_Credentials)
    except msgspec.DecodeError:
        raise UnableToAccessSecret(f"The secret {arn} must be a JSON object with the members username and accessToken."
                                   ) from None


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _registry_of(url: str) -> str | None:
    """AWS's name for the registry of a URL; None for one on this machine. Raises Unsupported."""
    for name, host in _KNOWN:
        if re.fullmatch(host, url):
            return name
    match = re.fullmatch(r"(?:https?://)?([a-z0-9.:\[\]-]+)/?", url)
    if match is None or not is_loopback(_name(match[1])):
        raise Unsupported("The specified upstream registry isn't supported.")
    return None


def _prefix(text: str) -> str:
    """Without the slash at the end that AWS assumes anyway."""
    return text.rstrip("/")


def _shown(rule: PullThroughRule, *left_out: str) -> dict[str, Any]:
    whole = {"ecrRepositoryPrefix": rule.prefix, "upstreamRegistryUrl": rule.url, "createdAt": rule.created_at,
             "updatedAt": rule.updated_at, "registryId": rule.account, "credentialArn": rule.credential_arn,
             "upstreamRegistry": rule.upstream, "upstreamRepositoryPrefix": rule.upstream_prefix}
    return {name: value for name, value in whole.items() if value is not None and name not in left_out}


def _refuse_role(request: Input) -> None:
    if request.get("customRoleArn"):
        raise InvalidParameter("Invalid parameter at 'customRoleArn' failed to satisfy constraint: 'must be absent: a "
                               "registry here is asked with the credentials of a secret'")


def _require(tx: Tx, call: Call, request: Input) -> PullThroughRule:
    account, prefix = own_registry(call, request), _prefix(request["ecrRepositoryPrefix"])
    rule = tx.get(PullThroughRule, f"{account}/{call.region}/{prefix}")
    if rule is None:
        raise NotFound(f"The pull through cache rule with prefix '{prefix}' was not found in the registry with id "
                       f"'{account}'")
    return rule


@ecr.write(resources=any_resource)
def create_pull_through_cache_rule(call: Call, tx: Tx, request: Input) -> Output:
    """A rule for one of the registries that AWS knows, or one on this machine (`localhost:5000`)."""
    account, prefix, url = own_registry(call, request), _prefix(request["ecrRepositoryPrefix"]), \
        request["upstreamRegistryUrl"]
    _refuse_role(request)
    upstream, said = _registry_of(url), request.get("upstreamRegistry")
    if upstream is not None and said not in (None, upstream):
        raise Unsupported("The specified upstream registry isn't supported.")
    upstream_prefix = request.get("upstreamRepositoryPrefix")
    if prefix == ROOT and upstream_prefix not in (None, ROOT):
        raise InvalidParameter("Invalid parameter at 'upstreamRepositoryPrefix' failed to satisfy constraint: "
                               "'must be ROOT where ecrRepositoryPrefix is ROOT'")
    key = f"{account}/{call.region}/{prefix}"
    if tx.get(PullThroughRule, key) is not None:
        raise AlreadyExists(f"The pull through cache rule with prefix '{prefix}' already exists in the registry with "
                            f"id '{account}'")
    if len(tx.find(PullThroughRule, f"{account}/{call.region}/", limit=RULES_MAX)) == RULES_MAX:
        raise LimitExceeded(f"The registry with id '{account}' already has the maximum of {RULES_MAX} pull through "
                            "cache rules")
    arn = request.get("credentialArn")
    if arn is not None:
        _credentials(tx, account, call.region, arn)
    elif upstream in _WITH_CREDENTIALS:
        raise Unsupported("The specified upstream registry requires authentication. Specify a valid Secrets Manager "
                          "ARN")
    rule = PullThroughRule(key, account, call.region, prefix, url, tx.now, tx.now, upstream or said,
                           _prefix(upstream_prefix) if upstream_prefix else None, arn)
    tx.put(rule)
    return _shown(rule, "updatedAt")


@ecr.read(resources=any_resource)
def describe_pull_through_cache_rules(call: Call, tx: Tx, request: Input) -> Output:
    """Those of the given prefixes, or all."""
    if prefixes := request.get("ecrRepositoryPrefixes"):
        found = [_require(tx, call, {**request, "ecrRepositoryPrefix": prefix}) for prefix in prefixes]
    else:
        found = tx.find(PullThroughRule, f"{own_registry(call, request)}/{call.region}/")
    return {"pullThroughCacheRules": [_shown(rule) for rule in found]}


@ecr.write(resources=any_resource)
def update_pull_through_cache_rule(call: Call, tx: Tx, request: Input) -> Output:
    """Other credentials from now on."""
    rule, arn = _require(tx, call, request), request.get("credentialArn")
    _refuse_role(request)
    if arn is None:
        raise InvalidParameter("Invalid input: Please set either credential arn or role arn to update the credentials")
    _credentials(tx, rule.account, rule.region, arn)
    changed = dataclasses.replace(rule, credential_arn=arn, updated_at=tx.now)
    tx.put(changed)
    return _shown(changed, "createdAt", "upstreamRegistryUrl", "upstreamRegistry")


@ecr.write(resources=any_resource)
def delete_pull_through_cache_rule(call: Call, tx: Tx, request: Input) -> Output:
    """What was pulled through stays."""
    rule = _require(tx, call, request)
    tx.delete(PullThroughRule, rule.key)
    tx.delete(UpstreamCheck, rule.key)
    return _shown(rule, "updatedAt", "upstreamRegistry")


@ecr.wait(resources=any_resource)
async def validate_pull_through_cache_rule(call: Call, store: Store, request: Input) -> Output:
    """Whether the registry answers and takes the credentials: it is asked, and this waits for what it says."""
    with store.tx() as tx:
        rule = _require(tx, call, request)
        before = tx.get(UpstreamCheck, rule.key)
        tx.enqueue(CHECK, rule.key)
    tries, problem = before.tries if before else 0, "the upstream registry was not asked in time"
    for _ in range(STEPS_MAX):
        await store.clock.sleep(STEP_S)
        with store.tx() as tx:
            check = tx.get(UpstreamCheck, rule.key)
        if check is not None and check.tries > tries:
            problem = check.problem
            break
    answer = {**_shown(rule, "createdAt", "updatedAt", "upstreamRegistry"), "isValid": not problem}
    return {**answer, "failure": problem} if problem else answer


class UpstreamChecker:
    """The loop that asks the registry of a rule, once for each question."""

    def __init__(self, store: Store, upstreams: Upstreams | None) -> None:
        self._store, self._upstreams = store, upstreams

    async def reconcile(self, key: str) -> Outcome:
        """Notes what the registry said."""
        problem = "" if self._upstreams else "there is nothing here that asks other registries"
        try:
            with self._store.tx() as tx:
                rule = tx.get(PullThroughRule, key)
                upstream = upstream_of(tx, rule) if rule else None
            if self._upstreams and upstream:
                await self._upstreams.check(upstream)
        except EngineError as error:
            problem = str(error)
        except AwsError as error:
            problem = error.message
        with self._store.tx() as tx:
            before = tx.get(UpstreamCheck, key)
            if tx.get(PullThroughRule, key) is not None:
                tx.put(UpstreamCheck(key, before.tries + 1 if before else 1, problem))
        return Done()
