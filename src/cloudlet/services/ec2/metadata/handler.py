"""What instances reach on 169.254.169.254: their metadata, user data and identity, by both versions of the service.

The connection says which network it came from, and the source address which interface, hence which instance: nobody is
told anything of another. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
"""

from dataclasses import dataclass
from http import HTTPStatus

from cloudlet.kernel.http import Request, Response
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.metadata import tokens
from cloudlet.services.ec2.metadata.gathering import facts_of, instance_at, note_heard, profile_of
from cloudlet.services.ec2.metadata.identity import Signer
from cloudlet.services.ec2.metadata.roles import RoleCredentials
from cloudlet.services.ec2.metadata.tree import look_up, tree, versions
from cloudlet.store.db import Store, Tx

TOKEN_PATH = "/latest/api/token"  # where one gets a token
_PAGE = """<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
\t"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>{title}</title>
 </head>
 <body>
  <h1>{title}</h1>
 </body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Session:
    """How a request shows that it comes from the instance itself. `left_s` of its token, None where it brings none."""

    left_s: float | None

    @property
    def delivery(self) -> str:
        """The version of the service that answers it."""
        return "1.0" if self.left_s is None else "2.0"


class InstanceMetadata:
    """Answers requests of instances; `handle` is an http.Handler."""

    def __init__(self, store: Store, signer: Signer) -> None:
        self._store, self._signer, self._roles = store, signer, RoleCredentials()

    async def handle(self, request: Request) -> Response:
        """One request. Who asks is told by the network and the source address."""
        with self._store.tx() as tx:
            instance = instance_at(tx, request.network, request.source) if request.network else None
            if instance is None:
                return _refused(404)
            if not instance.metadata.enabled:
                return _refused(403)
            if request.path.rstrip("/") == TOKEN_PATH:
                return _token(tx, instance, request)
            if request.method not in ("GET", "HEAD"):
                return _refused(405, allow="GET, HEAD")
            session = _session(tx, instance, request)
            return _refused(401) if session is None else self._answer(tx, instance, request, session)

    def _answer(self, tx: Tx, instance: Instance, request: Request, session: Session) -> Response:
        note_heard(tx, instance)
        if request.path.strip("/") == "":
            return _text(versions(), session)
        facts, profile = facts_of(tx, instance), profile_of(tx, instance)
        role = self._roles.leaves(tx, profile, session.delivery) if profile else None
        found = look_up(tree(facts, lambda: self._signer.leaves(tx, facts), role), request.path, facts.key_name)
        if found is None:
            return _refused(404)
        is_user_data = request.path.strip("/").partition("/")[2] == "user-data"
        return _text(found, session, "application/octet-stream" if is_user_data else "text/plain")


def _token(tx: Tx, instance: Instance, request: Request) -> Response:
    """PUT /latest/api/token. Its answer gets no farther than the instance's hop limit lets it, and whoever came by a
    proxy that says so gets none."""
    if request.method != "PUT":
        return _refused(405, allow="OPTIONS, PUT")
    if "x-forwarded-for" in request.headers:
        return _refused(403)
    ttl_s = tokens.ttl_of(request.headers.get(tokens.TTL_HEADER))
    if ttl_s is None:
        return _refused(400)
    return Response(200, {"content-type": "text/plain", "server": "EC2ws", tokens.TTL_HEADER: str(ttl_s)},
                    tokens.issue(tx, instance.key, ttl_s).encode(), hops=instance.metadata.hop_limit)


def _session(tx: Tx, instance: Instance, request: Request) -> Session | None:
    """Version 2 with a token that is good for this instance, version 1 without one where that is allowed; else None."""
    token = request.headers.get(tokens.HEADER)
    if token is None:
        return Session(None) if instance.metadata.tokens == "optional" else None
    left_s = tokens.seconds_left(tx, instance.key, token)
    return Session(left_s) if left_s > 0 else None


def _text(body: bytes, session: Session, kind: str = "text/plain") -> Response:
    headers = {"content-type": kind, "server": "EC2ws"}
    if session.left_s is not None:
        headers[tokens.TTL_HEADER] = str(int(session.left_s))
    return Response(200, headers, body)


def _refused(status: int, allow: str = "") -> Response:
    page = _PAGE.format(title=f"{status} - {HTTPStatus(status).phrase}")
    headers = {"content-type": "text/html", "server": "EC2ws"} | ({"allow": allow} if allow else {})
    return Response(status, headers, page.encode())
