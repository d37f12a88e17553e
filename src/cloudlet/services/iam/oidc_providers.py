"""OpenID Connect providers: whose tokens may be exchanged for a role's credentials, and their keys."""

import dataclasses
import re
from typing import Any
from urllib.parse import urlsplit

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.engines.ports import KeySets
from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import EngineError
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.iam.naming import merged_tags, remaining_tags, tag_list
from cloudlet.services.iam.records import OidcKeys, OidcProvider
from cloudlet.services.iam.service import EntityAlreadyExists, InvalidInput, LimitExceeded, NoSuchEntity, iam
from cloudlet.store.db import Store, Tx

KIND = "iam.oidc_provider"
REFRESH_S, RETRY_S = 3600.0, 30.0
CLIENT_IDS_MAX, THUMBPRINTS_MAX = 100, 5
_THUMBPRINT = re.compile(r"[0-9a-fA-F]{40}")


def the_provider(call: Call, request: Input) -> list[str]:
    """The resource of operations on one provider."""
    return [request["OpenIDConnectProviderArn"]]


def _new_arn(call: Call, request: Input) -> list[str]:
    return [f"arn:aws:iam::{call.account}:oidc-provider/{request['Url'].removeprefix('https://').rstrip('/')}"]


def _find(tx: Tx, call: Call, request: Input) -> OidcProvider:
    arn = request["OpenIDConnectProviderArn"]
    provider = tx.get(OidcProvider, arn)
    if provider is None or provider.account != call.account:
        raise NoSuchEntity(f"OpenIDConnect Provider not found for arn {arn}")
    return provider


def _checked_thumbprints(given: list[str]) -> tuple[str, ...]:
    if len(given) > THUMBPRINTS_MAX:
        raise InvalidInput("Thumbprint list must contain fewer than 5 entries.")
    if not all(_THUMBPRINT.fullmatch(text) for text in given):
        raise InvalidInput("Thumbprint must be 40 hexadecimal characters.")
    return tuple(dict.fromkeys(given))


def _checked_clients(given: tuple[str, ...]) -> tuple[str, ...]:
    if len(given) > CLIENT_IDS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {CLIENT_IDS_MAX}")
    return given


@iam.write(resources=_new_arn)
def create_open_id_connect_provider(call: Call, tx: Tx, request: Input) -> Output:
    """Trusts a provider, whose keys are fetched at once."""
    parts = urlsplit(request["Url"])
    if parts.scheme != "https" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise InvalidInput("Invalid Open ID Connect Provider URL")
    (arn,) = _new_arn(call, request)
    if tx.get(OidcProvider, arn) is not None:
        raise EntityAlreadyExists(f"Provider with url {request['Url']} already exists.")
    provider = OidcProvider(
        arn, call.account, arn.partition("oidc-provider/")[2], tx.now,
        _checked_clients(tuple(dict.fromkeys(request.get("ClientIDList") or ()))),
        _checked_thumbprints(request.get("ThumbprintList") or []),
        merged_tags({}, request.get("Tags") or (), "TagsPerOpenIdConnectProvider"))
    tx.put(provider)
    return {"OpenIDConnectProviderArn": arn, **({"Tags": tag_list(provider.tags)} if provider.tags else {})}


@iam.read(resources=the_provider)
def get_open_id_connect_provider(call: Call, tx: Tx, request: Input) -> Output:
    """A provider; its URL is without the scheme, as on AWS."""
    provider = _find(tx, call, request)
    shown: dict[str, Any] = {"Url": provider.url, "ClientIDList": list(provider.client_ids),
                             "ThumbprintList": list(provider.thumbprints), "CreateDate": provider.created}
    return {**shown, "Tags": tag_list(provider.tags)} if provider.tags else shown


@iam.read(resources=any_resource)
def list_open_id_connect_providers(call: Call, tx: Tx, request: Input) -> Output:
    """The account's providers."""
    return {"OpenIDConnectProviderList": [{"Arn": each.arn} for each in tx.find(OidcProvider, account=call.account)]}


@iam.write(resources=the_provider)
def delete_open_id_connect_provider(call: Call, tx: Tx, request: Input) -> Output:
    """Trusts a provider no more; one that is not there does no harm."""
    provider = tx.get(OidcProvider, request["OpenIDConnectProviderArn"])
    if provider is not None and provider.account == call.account:
        tx.delete(OidcProvider, provider.arn)


@iam.write(resources=the_provider)
def add_client_id_to_open_id_connect_provider(call: Call, tx: Tx, request: Input) -> Output:
    """Takes tokens for one more audience."""
    provider, id = _find(tx, call, request), request["ClientID"]
    clients = provider.client_ids if id in provider.client_ids else (*provider.client_ids, id)
    tx.put(dataclasses.replace(provider, client_ids=_checked_clients(clients)))


@iam.write(resources=the_provider)
def remove_client_id_from_open_id_connect_provider(call: Call, tx: Tx, request: Input) -> Output:
    """Takes tokens for an audience no more."""
    provider = _find(tx, call, request)
    tx.put(dataclasses.replace(provider, client_ids=tuple(
        id for id in provider.client_ids if id != request["ClientID"])))


@iam.write(resources=the_provider)
def update_open_id_connect_provider_thumbprint(call: Call, tx: Tx, request: Input) -> Output:
    """Replaces the thumbprints; the keys are fetched anew."""
    provider = _find(tx, call, request)
    tx.put(dataclasses.replace(provider, thumbprints=_checked_thumbprints(request["ThumbprintList"])))


@iam.write(resources=the_provider)
def tag_open_id_connect_provider(call: Call, tx: Tx, request: Input) -> Output:
    """Adds tags or changes their values."""
    provider = _find(tx, call, request)
    tx.put(dataclasses.replace(
        provider, tags=merged_tags(provider.tags, request["Tags"], "TagsPerOpenIdConnectProvider")))


@iam.write(resources=the_provider)
def untag_open_id_connect_provider(call: Call, tx: Tx, request: Input) -> Output:
    """Removes tags; keys that are not there do no harm."""
    provider = _find(tx, call, request)
    tx.put(dataclasses.replace(provider, tags=remaining_tags(provider.tags, request["TagKeys"])))


@iam.read(resources=the_provider)
def list_open_id_connect_provider_tags(call: Call, tx: Tx, request: Input) -> Output:
    """A provider's tags."""
    return {"Tags": tag_list(_find(tx, call, request).tags)}


class KeyKeeper:
    """The loop that fetches the keys of a provider: when it is made or changed, when a token bears a key that is not
    known, and every hour."""

    def __init__(self, store: Store, keysets: KeySets | None) -> None:
        self._store, self._keysets = store, keysets

    async def reconcile(self, arn: str) -> Outcome:
        """Fetches and keeps the keys; while the provider does not answer, those that it published last."""
        with self._store.tx() as tx:
            provider, before = tx.get(OidcProvider, arn), tx.get(OidcKeys, arn)
            if provider is None:
                tx.delete(OidcKeys, arn)
                return Done()
        keys, problem = before.keys if before else "", ""
        if self._keysets is None:
            problem = "there is nothing here that asks identity providers"
        else:
            try:
                keys = await self._keysets.fetch(f"https://{provider.url}", provider.thumbprints)
            except EngineError as error:
                problem = str(error)
        with self._store.tx() as tx:
            if tx.get(OidcProvider, arn) is not None:
                tx.put(OidcKeys(arn, tx.now, before.tries + 1 if before else 1, keys, problem))
        return Again(RETRY_S if problem else REFRESH_S, problem)
