"""A role's credentials for whoever bears a token of a trusted OpenID Connect provider; the request is not signed."""

from typing import Any

from cloudlet.kernel import policy
from cloudlet.kernel.call import Call
from cloudlet.kernel.condition_keys import keys_of
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam import OidcKeys, OidcProvider, Role, find_role, look_for_keys, open_session
from cloudlet.services.sts.own_sessions import credentials
from cloudlet.services.sts.roles import duration_of, packed_size, refuse_unsupported, session_name, session_policies
from cloudlet.services.sts.service import AccessDenied, IDPRejectedClaim, InvalidIdentityToken, sts
from cloudlet.services.sts.tokens import UnknownKey, claims_of, verify
from cloudlet.store.db import Store, Tx

ACTION = "sts:AssumeRoleWithWebIdentity"
TAGS_CLAIM = "https://aws.amazon.com/tags"
STEPS_MAX, STEP_S = 120, 0.05  # of waiting for the provider's answer, where its keys must be fetched first
RECENT_S = 5.0  # who was asked so lately is not asked again for a key that it has not


@sts.wait(resources=lambda call, request: [request["RoleArn"]])
async def assume_role_with_web_identity(call: Call, store: Store, request: Input) -> Output:
    """Temporary credentials of a role, where its trust policy lets the provider's token have them."""
    refuse_unsupported(request, ("ProviderId",))
    session_name(request["RoleSessionName"])
    issuer = claims_of(request["WebIdentityToken"])["iss"]
    with store.tx() as tx:
        role = find_role(tx, request["RoleArn"])
        provider = _provider(tx, role, issuer)
    claims = await _verified(store, provider, request["WebIdentityToken"])
    with store.tx() as tx:
        role, still = find_role(tx, request["RoleArn"]), tx.get(OidcProvider, provider.arn)
        if role is None or still is None:
            raise AccessDenied(f"Not authorized to perform {ACTION}")
        return _assumed(tx, call, role, still, claims, request)


def _provider(tx: Tx, role: Role | None, issuer: str) -> OidcProvider:
    if role is None:
        raise AccessDenied(f"Not authorized to perform {ACTION}")
    url = issuer.removeprefix("https://").rstrip("/")
    provider = tx.get(OidcProvider, f"arn:aws:iam::{role.account}:oidc-provider/{url}")
    if provider is None or not issuer.startswith("https://"):
        raise InvalidIdentityToken(f"No OpenIDConnect provider found in your account for {issuer[:255]}")
    return provider


async def _verified(store: Store, provider: OidcProvider, token: str) -> dict[str, Any]:
    """The token's claims. Where its key is not known, the provider is asked once more before the token is refused."""
    tries: int | None = None
    for _ in range(STEPS_MAX):
        with store.tx() as tx:
            known = tx.get(OidcKeys, provider.arn) or OidcKeys(provider.arn, 0.0, 0)
            try:
                return verify(token, known.keys, tx.now)
            except UnknownKey:
                recent = known.keys and tx.now - known.asked < RECENT_S
                if recent or (tries is not None and known.tries > tries):
                    break
                if tries is None:
                    tries = known.tries
                    look_for_keys(tx, provider)
        await store.clock.sleep(STEP_S)
    raise InvalidIdentityToken("Couldn't retrieve verification key from your identity provider, please reference"
                               " AssumeRoleWithWebIdentity documentation for requirements")


def _assumed(tx: Tx, call: Call, role: Role, provider: OidcProvider, claims: dict[str, Any],
             request: Input) -> dict[str, Any]:
    audience = _audience(provider, claims)
    if TAGS_CLAIM in claims:
        raise IDPRejectedClaim("Session tags in tokens are not supported.")
    own = {f"{provider.url}:aud": audience, f"{provider.url}:sub": claims["sub"],
           f"{provider.url}:amr": _texts(claims.get("amr")), "aws:FederatedProvider": provider.arn}
    keys = keys_of({**own, "sts:RoleSessionName": request["RoleSessionName"], "aws:SourceIp": call.source_ip})
    caller = policy.Caller(frozenset({("Federated", provider.arn)}))
    if policy.granted(policy.parse(role.trust), caller, ACTION, role.arn, keys.get) != "direct":
        raise AccessDenied(f"Not authorized to perform {ACTION}")
    document, arns = session_policies(tx, role.account, request)
    facts = tuple((key, value) for key, values in keys_of(own).items() for value in values)
    credential = open_session(tx, role, request["RoleSessionName"], duration_of(call, role, request),
                              policy=document, policy_arns=arns, facts=facts)
    answer: dict[str, Any] = {
        "Credentials": credentials(credential), "SubjectFromWebIdentityToken": claims["sub"],
        "AssumedRoleUser": {"AssumedRoleId": credential.principal.user_id, "Arn": credential.principal.arn},
        "Provider": provider.arn, "Audience": audience}
    return answer if document is None else {**answer, "PackedPolicySize": packed_size(document)}


def _audience(provider: OidcProvider, claims: dict[str, Any]) -> str:
    """For whom the token was made: a client that the provider was registered with."""
    for audience in (*_texts(claims.get("azp")), *_texts(claims.get("aud"))):
        if audience in provider.client_ids:
            return audience
    raise InvalidIdentityToken("Incorrect token audience")


def _texts(value: Any) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
