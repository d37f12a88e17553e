"""What SNS shows to who comes without a signature: the certificate, and the links in messages.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from cloudlet.kernel.http import Request, Response
from cloudlet.services.sns import signing
from cloudlet.store.db import Store

PREFIX = "/SimpleNotificationService-"


def certificate(store: Store, request: Request) -> Response | None:
    """The certificate under which messages are signed, by the name that they give; None for any other path."""
    if not request.path.startswith(PREFIX) or request.method not in ("GET", "HEAD"):
        return None
    with store.tx() as tx:
        signer = tx.get(signing.MessageSigner, "signer")
    if signer is None or request.path != signer.path:
        return None
    return Response(200, {"content-type": "application/x-pem-file"}, signer.certificate.encode())
