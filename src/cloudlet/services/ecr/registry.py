"""The image registry: all of `/v2/`, an implementation of the OCI distribution specification on the blob store."""

import errno
import re
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from cloudlet.engines.ports import Upstreams
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import BodyTooLarge, BodyTruncated, Handler, Request, Response
from cloudlet.kernel.identity import Identities
from cloudlet.services.ecr.exchange import Exchange, RegistryError, admit, json_response
from cloudlet.services.ecr.manifests import MANIFEST_BYTES_MAX, InvalidManifest
from cloudlet.services.ecr.pull_through import PullThrough
from cloudlet.services.ecr.pulls import Pulls
from cloudlet.services.ecr.pushes import Pushes
from cloudlet.services.ecr.referrers import Referrers
from cloudlet.services.ecr.service import is_repository_name
from cloudlet.store.blobs import Blobs, UploadBusy
from cloudlet.store.db import OutOfSpace, Store

Answer = Callable[[Exchange, str], Awaitable[Response]]  # its second argument is the path's last part

PATH_MAX = 2048
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def registry(store: Store, blobs: Blobs, identities: Identities, upstreams: Upstreams | None = None) -> Handler:
    """The handler of every request whose path is /v2 or begins with /v2/. `upstreams`: where images may come from."""
    store.blobs["ecr"] = blobs
    return _Registry(store, blobs, identities, upstreams).handle


class _Registry:
    def __init__(self, store: Store, blobs: Blobs, identities: Identities, upstreams: Upstreams | None) -> None:
        self._store, self._identities = store, identities
        pulls, pushes = Pulls(store, blobs, PullThrough(store, blobs, upstreams)), Pushes(store, blobs)
        # The first pattern that fits counts: a repository's own name may contain "blobs" or "manifests".
        self._routes: tuple[tuple[re.Pattern[str], dict[str, Answer]], ...] = (
            (re.compile(r"/v2/(.+)/blobs/uploads(/?)"), {"POST": pushes.start}),
            (re.compile(r"/v2/(.+)/blobs/uploads/([^/]+)"), {
                "GET": pushes.status, "PATCH": pushes.append, "PUT": pushes.finish, "DELETE": pushes.cancel}),
            (re.compile(r"/v2/(.+)/blobs/([^/]+)"), {
                "GET": pulls.blob, "HEAD": pulls.blob, "DELETE": pushes.delete_blob}),
            (re.compile(r"/v2/(.+)/manifests/([^/]+)"), {
                "GET": pulls.manifest, "HEAD": pulls.manifest, "PUT": pushes.manifest,
                "DELETE": pushes.delete_manifest}),
            (re.compile(r"/v2/(.+)/tags/(list)"), {"GET": pulls.tags}),
            (re.compile(r"/v2/(.+)/referrers/([^/]+)"), {"GET": Referrers(store).list}),
        )

    async def handle(self, request: Request) -> Response:
        try:
            response = await self._answer(request)
        except RegistryError as error:
            response = error.response()
        except OutOfSpace:
            response = _no_space().response()
        except AwsError as error:
            response = RegistryError.of(error).response()
        except InvalidManifest as error:
            response = RegistryError(400, "MANIFEST_INVALID", str(error)).response()
        except BodyTooLarge:
            response = RegistryError(413, "MANIFEST_INVALID",
                                     f"the manifest is larger than {MANIFEST_BYTES_MAX} bytes").response()
        except BodyTruncated:
            response = RegistryError(400, "SIZE_INVALID", "the request's body broke off").response()
        except UploadBusy:
            response = RegistryError(409, "BLOB_UPLOAD_INVALID", "another request writes to this upload").response()
        except OSError as error:
            if error.errno not in FULL:
                raise
            response = _no_space().response()
        body = b"" if request.method == "HEAD" else response.body
        return Response(response.status, {**response.headers, "docker-distribution-api-version": "registry/2.0"}, body)

    async def _answer(self, request: Request) -> Response:
        path = unquote(request.path)
        if path in ("/v2", "/v2/"):
            self._admit(request, "")
            if request.method not in ("GET", "HEAD"):
                raise RegistryError(405, "UNSUPPORTED", "The operation is unsupported.", {"allow": "GET, HEAD"})
            return json_response({})
        if len(path) <= PATH_MAX:
            for pattern, methods in self._routes:
                if match := pattern.fullmatch(path):
                    return await self._route(request, methods, match[1], match[2])
        self._admit(request, "")
        raise RegistryError(404, "UNSUPPORTED", "The operation is unsupported.")

    async def _route(self, request: Request, methods: dict[str, Answer], name: str, last: str) -> Response:
        exchange = self._admit(request, name)
        answer = methods.get(request.method)
        if answer is None:
            raise RegistryError(405, "UNSUPPORTED", "The operation is unsupported.", {"allow": ", ".join(methods)})
        if not is_repository_name(name):
            raise RegistryError(400, "NAME_INVALID", f"'{name}' is not the name of a repository")
        return await answer(exchange, last)

    def _admit(self, request: Request, name: str) -> Exchange:
        with self._store.tx() as tx:
            return admit(tx, self._identities, request, name)


def _no_space() -> RegistryError:
    """The blobs' disk is full, or the records': nothing of the request was kept."""
    return RegistryError(507, "DENIED", "there is no space left on the registry's disk")
