"""Tokens of identity providers: whose they are, what they open, and each way to be refused."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudlet.engines.keysets import LocalKeySets
from cloudlet.kernel.call import ANONYMOUS
from cloudlet.kernel.errors import AwsError, Busy, Refused
from cloudlet.services.iam import iam
from cloudlet.services.iam.oidc_providers import KIND, KeyKeeper
from cloudlet.services.iam.service import EntityAlreadyExists, InvalidInput, NoSuchEntity
from cloudlet.services.sts import sts
from cloudlet.services.sts.service import AccessDenied, ExpiredToken, IDPRejectedClaim, InvalidIdentityToken
from cloudlet.services.sts.tokens import UnknownKey, verify
from tests.issuer import EcKey, Issuer, RsaKey, encoded
from tests.services.desk import ACCOUNT, Desk, root

NOW = 1_700_000_000.0
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
SIGNERS = {"RS256": RsaKey("k"), "ES256": EcKey("k")}


def claims(**more: Any) -> dict[str, Any]:
    return {"iss": "https://localhost", "sub": "me", "aud": "app", "iat": NOW, "exp": NOW + 60, **more}


def published(*keys: RsaKey | EcKey) -> str:
    return json.dumps({"keys": [key.public for key in keys]})


@pytest.mark.parametrize("algorithm", list(SIGNERS))
def test_a_token_that_the_provider_signed(algorithm: str) -> None:
    signer = SIGNERS[algorithm]
    assert verify(signer.token(claims()), published(signer), NOW) == claims()


@pytest.mark.parametrize("algorithm", list(SIGNERS))
def test_tokens_that_are_forged(algorithm: str) -> None:
    signer, keys = SIGNERS[algorithm], published(SIGNERS[algorithm])
    head, body, signature = signer.token(claims()).split(".")
    stranger = type(signer)("k")
    none, hmac_head = (encoded(json.dumps({"alg": name, "kid": "k"}).encode()) for name in ("none", "HS256"))
    shared = hmac.digest(json.dumps(signer.public).encode(), f"{hmac_head}.{body}".encode(), hashlib.sha256)
    other = encoded(json.dumps(claims(sub="you")).encode())
    for token in (f"{head}.{other}.{signature}", f"{head}.{body}.", f"{none}.{body}.",
                  f"{hmac_head}.{body}.{encoded(shared)}", stranger.token(claims()), f"{head}.{body}.{signature[:-4]}",
                  f"{head}.{body}.{encoded(bytes(64))}", "a.b", "a.b.c", "é.b.c", "..", signer.token(claims(iss=5))):
        with pytest.raises(InvalidIdentityToken):
            verify(token, keys, NOW)


def test_tokens_out_of_time_and_of_an_unknown_key() -> None:
    signer = SIGNERS["ES256"]
    with pytest.raises(ExpiredToken, match="must be before the expiration date/time 1700000060"):
        verify(signer.token(claims()), published(signer), NOW + 60)
    for wrong in ({"iat": NOW + 301}, {"nbf": NOW + 301}, {"exp": None}, {"exp": "soon"}, {"iat": None}):
        with pytest.raises(InvalidIdentityToken):
            verify(signer.token(claims(**wrong)), published(signer), NOW)
    for keys in ("", "{}", published(), published(SIGNERS["RS256"]), published(EcKey("other"))):
        with pytest.raises(UnknownKey):
            verify(signer.token(claims()), keys, NOW)


# ── providers ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    with Issuer(tmp_path) as made:
        yield made


def provider(desk: Desk, issuer: Issuer, **more: Any) -> str:
    arn: str = desk(iam, "CreateOpenIDConnectProvider", Url=issuer.url, ThumbprintList=[issuer.thumbprint],
                    ClientIDList=["app"], **more)["OpenIDConnectProviderArn"]
    return arn


# GetOpenIDConnectProvider ListOpenIDConnectProviders AddClientIDToOpenIDConnectProvider TagOpenIDConnectProvider
# RemoveClientIDFromOpenIDConnectProvider UpdateOpenIDConnectProviderThumbprint UntagOpenIDConnectProvider
def test_providers_come_change_and_go(desk: Desk, issuer: Issuer) -> None:
    arn = provider(desk, issuer, Tags=[{"Key": "a", "Value": "1"}])
    assert arn == f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer.url.removeprefix('https://')}"
    with pytest.raises(EntityAlreadyExists):
        provider(desk, issuer)
    found = desk(iam, "GetOpenIDConnectProvider", OpenIDConnectProviderArn=arn)
    assert found == {"Url": issuer.url.removeprefix("https://"), "ClientIDList": ["app"],
                     "ThumbprintList": [issuer.thumbprint], "CreateDate": desk.clock.now(),
                     "Tags": [{"Key": "a", "Value": "1"}]}
    assert desk(iam, "ListOpenIDConnectProviders")["OpenIDConnectProviderList"] == [{"Arn": arn}]
    it = {"OpenIDConnectProviderArn": arn}
    desk(iam, "AddClientIDToOpenIDConnectProvider", ClientID="other", **it)
    desk(iam, "RemoveClientIDFromOpenIDConnectProvider", ClientID="app", **it)
    desk(iam, "UpdateOpenIDConnectProviderThumbprint", ThumbprintList=["a" * 40], **it)
    desk(iam, "TagOpenIDConnectProvider", Tags=[{"Key": "b", "Value": "2"}], **it)
    desk(iam, "UntagOpenIDConnectProvider", TagKeys=["a"], **it)
    assert desk(iam, "ListOpenIDConnectProviderTags", **it)["Tags"] == [{"Key": "b", "Value": "2"}]
    found = desk(iam, "GetOpenIDConnectProvider", **it)
    assert (found["ClientIDList"], found["ThumbprintList"]) == (["other"], ["a" * 40])
    with pytest.raises(NoSuchEntity):
        desk(iam, "GetOpenIDConnectProvider", root("210987654321"), **it)
    for _ in range(2):
        desk(iam, "DeleteOpenIDConnectProvider", **it)
    assert desk(iam, "ListOpenIDConnectProviders")["OpenIDConnectProviderList"] == []


@pytest.mark.parametrize("more", [{"Url": "http://localhost"}, {"Url": "https://localhost?x"}, {"Url": "https://"},
                                  {"ThumbprintList": ["x" * 40]}, {"ThumbprintList": ["a" * 40] * 6}])
def test_providers_that_cannot_be(desk: Desk, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        desk(iam, "CreateOpenIDConnectProvider", **{"Url": "https://localhost", **more})


def test_keys_are_fetched_from_this_machine_alone(issuer: Issuer) -> None:
    def fetch(url: str, *thumbprints: str) -> str:
        return asyncio.run(LocalKeySets().fetch(url, thumbprints))

    assert json.loads(fetch(issuer.url, issuer.thumbprint.upper())) == {"keys": [issuer.keys[0].public]}
    for thumbprints in ((), ("a" * 40,)):
        with pytest.raises(Refused, match="certificate"):
            fetch(issuer.url, *thumbprints)
    for url in ("https://192.0.2.1", "https://identity.example", "https://localhost.example"):
        with pytest.raises(Refused, match="is not on this machine"):
            fetch(url)
    for url, why in (("http://localhost", "is not an https URL"), ("https://localhost:port", "is no URL"),
                     ("https://localhost/a b", "is no URL of an identity provider")):
        with pytest.raises(Refused, match=why):
            fetch(url)
    with pytest.raises(Refused, match=r"answered HTTP/1\.0 404"):
        fetch(issuer.url + "/elsewhere", issuer.thumbprint)
    issuer.claims_to_be = "https://somebody.else"
    with pytest.raises(Refused, match=r"says that it is https://somebody\.else"):
        fetch(issuer.url, issuer.thumbprint)
    with pytest.raises(Busy):
        fetch("https://localhost:1")


# ── the exchange ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Exchange:
    """A role that a provider's tokens may open, and the loop that fetches the provider's keys beside it."""

    def __init__(self, desk: Desk, issuer: Issuer) -> None:
        self.desk, self.issuer, self.arn = desk, issuer, provider(desk, issuer)
        self.keeper = KeyKeeper(desk.store, LocalKeySets())
        url = issuer.url.removeprefix("https://")
        desk(iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=json.dumps({
            "Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Principal": {"Federated": self.arn}, "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": {f"{url}:aud": "app"}, "StringLike": {f"{url}:sub": "m*"}}}}))

    def __call__(self, token: str, **more: Any) -> Any:
        async def exchange() -> Any:
            loop = asyncio.create_task(self._loop())
            try:
                call = self.desk.call(ANONYMOUS)
                return await sts.operations["AssumeRoleWithWebIdentity"].run(call, self.desk.store, {
                    "RoleArn": ROLE, "RoleSessionName": "session", "WebIdentityToken": token, **more})
            finally:
                loop.cancel()
        return asyncio.run(exchange())

    async def _loop(self) -> None:
        while True:
            with self.desk.store.tx() as tx:
                asked = tx.execute("select count(*) from work where kind=?", (KIND,)).fetchone()[0]
                tx.execute("delete from work where kind=?", (KIND,))
            if asked:
                await self.keeper.reconcile(self.arn)
            await asyncio.sleep(0.01)

    def token(self, **more: Any) -> str:
        return self.issuer.keys[-1].token(claims(**{"iss": self.issuer.url, **more}))


@pytest.fixture
def exchange(desk: Desk, issuer: Issuer) -> Exchange:
    return Exchange(desk, issuer)


def test_a_token_opens_a_role(desk: Desk, exchange: Exchange) -> None:
    desk(iam, "PutRolePolicy", RoleName="app", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}))
    answer = exchange(exchange.token())
    assert (answer["Provider"], answer["Audience"], answer["SubjectFromWebIdentityToken"]) == (
        exchange.arn, "app", "me")
    principal = desk.principal(answer["Credentials"]["AccessKeyId"])
    assert principal is not None
    assert principal.arn == answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/app/session"
    assert desk.refuses(principal, "s3:GetObject", "*") is None
    assert desk.refuses(principal, "sqs:SendMessage", "*") is not None


def test_the_provider_changes_its_keys(desk: Desk, exchange: Exchange) -> None:
    exchange(exchange.token())
    exchange.issuer.keys = [EcKey("second")]
    desk.clock.time += 10
    assert exchange(exchange.token())["Audience"] == "app"
    asked = exchange.issuer.asked
    with pytest.raises(InvalidIdentityToken, match="Couldn't retrieve verification key"):
        exchange(RsaKey("stranger").token(claims(iss=exchange.issuer.url)))
    assert exchange.issuer.asked == asked  # so soon after, a stranger's key makes nobody ask again


@pytest.mark.parametrize(("more", "error"), [
    ({"aud": "other"}, InvalidIdentityToken), ({"sub": "you"}, AccessDenied), ({"exp": NOW - 1}, ExpiredToken),
    ({"iss": "https://localhost:1"}, InvalidIdentityToken), ({"iss": "nobody"}, InvalidIdentityToken),
    ({"https://aws.amazon.com/tags": {}}, IDPRejectedClaim)])
def test_tokens_that_open_nothing(exchange: Exchange, more: dict[str, Any], error: type[AwsError]) -> None:
    with pytest.raises(error):
        exchange(exchange.token(**more))


def test_a_role_that_is_not_for_tokens(desk: Desk, exchange: Exchange) -> None:
    with pytest.raises(AccessDenied, match="Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        exchange(exchange.token(), RoleArn=ROLE + "2")
    desk(iam, "UpdateAssumeRolePolicy", RoleName="app", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:*"}}))
    with pytest.raises(AccessDenied):
        exchange(exchange.token())
    desk(iam, "DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=exchange.arn)
    with pytest.raises(InvalidIdentityToken, match="No OpenIDConnect provider found in your account"):
        exchange(exchange.token())
