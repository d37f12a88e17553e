"""Browsers' forms: objects that are put by a POST of multipart/form-data, read as it streams.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTForms.html
"""

import base64
import hmac
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit

from msgspec.structs import replace
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from cloudlet.kernel.errors import declare
from cloudlet.kernel.http import Body, BodyTruncated, Request, Response
from cloudlet.kernel.identity import Credential
from cloudlet.wire import s3_policies, scalars, sigv4, xml
from cloudlet.wire.faults import Faults
from cloudlet.wire.protocol import Message
from cloudlet.wire.s3_signatures import MALFORMED, UNSUPPORTED, InvalidArgument, InvalidRequest

FIELDS_BYTES_MAX = 20 * 1024  # of everything before the file
PARTS_MAX = 100
AFTER_BYTES_MAX = 64 * 1024  # of everything after it, which is ignored
FILE_BYTES_MAX = 5 << 30

Malformed = declare("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
FieldsTooLarge = declare("MaxPostPreDataLengthExceeded",
                         "Your POST request fields preceeding the upload file was too large.")  # as AWS spells it
NotAForm = declare("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", status=412)
TooLarge = declare("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
TooSmall = declare("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
MalformedXml = declare("MalformedXML", "The XML you provided was not well-formed or did not validate against our"
                       " published schema")

_SIGNING = {"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token"}
_HEADERS = {"cache-control", "content-type", "content-disposition", "content-encoding", "content-language", "expires",
            "content-md5"}


def is_form(bucket_path: str, request: Request) -> bool:
    """Whether a request is a POST to a bucket as browsers send it. Raises NotAForm where it is one but for its type."""
    if request.method != "POST" or request.query or bucket_path.count("/") != 1 or bucket_path == "/":
        return False
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise NotAForm(Condition="Bucket POST must be of the enclosure-type multipart/form-data")
    return True


@dataclass(slots=True)
class Form:
    """A form up to its file: `fields` by lower-case names; `file` is read from the request as it comes."""

    request: Request
    bucket: str
    fields: dict[str, str]
    file: Body
    sizes: s3_policies.Sizes = field(default_factory=s3_policies.Sizes)

    def signed(self) -> sigv4.Signed | None:
        """What it says of its signature, which is that of its policy; None where it has neither."""
        fields = self.fields
        second = "awsaccesskeyid" in fields or "signature" in fields
        fourth = "x-amz-signature" in fields or "x-amz-credential" in fields
        if not (second or fourth):
            return None
        needed = ("policy", "awsaccesskeyid", "signature") if second else (
            "policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
        for name in needed:
            if not fields.get(name):
                raise _missing(name)
        token = fields.get("x-amz-security-token")
        if second:
            return sigv4.Signed(sigv4.Scope(fields["awsaccesskeyid"], "", "", "s3"), "", (), fields["signature"],
                                token, sigv4.UNSIGNED)
        if fields["x-amz-algorithm"] != sigv4.ALGORITHM:
            raise InvalidRequest(UNSUPPORTED)
        if sigv4.seconds_of(fields["x-amz-date"]) is None:
            raise InvalidArgument("X-Amz-Date must be formated via ISO8601 Long format", ArgumentName="X-Amz-Date",
                                  ArgumentValue=fields["x-amz-date"][:256])
        scope = sigv4.scope_of(fields["x-amz-credential"])
        if scope is None or scope.service != "s3" or not fields["x-amz-date"].startswith(scope.date):
            raise InvalidArgument(MALFORMED, ArgumentName="X-Amz-Credential",
                                  ArgumentValue=fields["x-amz-credential"][:256])
        return sigv4.Signed(scope, fields["x-amz-date"], (), fields["x-amz-signature"], token, sigv4.UNSIGNED)

    def verify(self, signed: sigv4.Signed, credential: Credential, faults: Faults) -> None:
        """Raises unless the policy bears the credential's signature: of version 4, or of version 2 as old forms do."""
        policy, scope = self.fields["policy"].encode(), signed.scope
        if scope.date:
            key = sigv4.signing_key(credential.secret, scope.date, scope.region, scope.service)
            expected = hmac.digest(key, policy, "sha256").hex()
        else:
            expected = base64.b64encode(hmac.digest(credential.secret.encode(), policy, "sha1")).decode()
        if not hmac.compare_digest(expected.encode(), signed.signature.encode()):
            raise faults.mismatch(AWSAccessKeyId=scope.access_key_id, StringToSign=self.fields["policy"],
                                  SignatureProvided=signed.signature, StringToSignBytes=policy.hex(" "))

    def check_policy(self, now: float) -> None:
        """Raises unless the policy, where there is one, allows all that the form says; it may limit the file's size."""
        if "policy" in self.fields:
            # whose bucket it is, the URL says: a field of that name changes nothing
            self.sizes = s3_policies.check(self.fields["policy"], {**self.fields, "bucket": self.bucket}, now)

    def message(self) -> Message:
        """The PutObject that it means. Raises TooLarge where even the announced length says so."""
        fields = self.fields
        headers = {"host": self.request.headers.get("host", "")}
        headers |= {name: value for name, value in fields.items()
                    if name in _HEADERS or (name.startswith("x-amz-") and name not in _SIGNING)}
        if "acl" in fields:
            headers["x-amz-acl"] = fields["acl"]
        if "tagging" in fields:
            headers["x-amz-tagging"] = _tagging(fields["tagging"])
        most = FILE_BYTES_MAX if self.sizes.most is None else min(self.sizes.most, FILE_BYTES_MAX)
        announced = (self.request.body.length or 0) - FIELDS_BYTES_MAX - AFTER_BYTES_MAX
        if announced > most:
            raise TooLarge(ProposedSize=announced, MaxSizeAllowed=most)
        body = Body(_limited(self.file, self.sizes.least, most))
        return Message(replace(self.request, method="PUT", headers=headers, body=body), body,
                       {"Bucket": self.bucket, "Key": fields["key"]})

    def answer(self, stored: Response) -> Response:
        """What the browser sees of PutObject's answer."""
        fields, etag, key = self.fields, stored.headers.get("etag", ""), self.fields["key"]
        base = self.request.endpoint
        if not self.request.headers.get("host", "").startswith(f"{self.bucket}."):
            base += f"/{self.bucket}"
        location = f"{base}/{quote(key, safe='')}"
        headers = {**stored.headers, "location": location}
        redirect = fields.get("success_action_redirect") or fields.get("redirect", "")
        if urlsplit(redirect).scheme in ("http", "https"):
            said = urlencode({"bucket": self.bucket, "key": key, "etag": etag})
            headers["location"] = f"{redirect}{'&' if '?' in redirect else '?'}{said}"
            return Response(303, headers)
        status = fields.get("success_action_status", "")
        if status == "201":
            text = (f'<?xml version="1.0" encoding="UTF-8"?>\n<PostResponse><Location>{xml.escape(location)}</Location>'
                    f"<Bucket>{self.bucket}</Bucket><Key>{xml.escape(key)}</Key><ETag>{xml.escape(etag)}</ETag>"
                    "</PostResponse>")
            return Response(201, {**headers, "content-type": "application/xml"}, text.encode())
        return Response(200 if status == "200" else 204, headers)


async def read(request: Request, bucket: str) -> Form:
    """A form up to the beginning of its file. Raises what is wrong with it."""
    reader = _Reader(request)
    await reader.read_fields()
    fields = reader.fields
    if "key" not in fields:
        raise _missing("key")
    if not reader.in_file:
        raise InvalidArgument("POST requires exactly one file upload per request.", ArgumentName="file",
                              ArgumentValue="0")
    if reader.filename is not None:  # or it stays as it is, as on AWS
        fields = {name: value.replace("${filename}", reader.filename) for name, value in fields.items()}
    if not fields["key"]:
        raise InvalidArgument("User key must have a length greater than 0.", ArgumentName="key", ArgumentValue="")
    return Form(request, bucket, fields, Body(reader.file()))


def _missing(name: str) -> Exception:
    shown = {"awsaccesskeyid": "AWSAccessKeyId", "signature": "Signature"}.get(
        name, name.title() if name.startswith("x-amz-") else name)
    return InvalidArgument(f"Bucket POST must contain a field named '{shown}'.  If it is specified, please check the"
                           " order of the fields.", ArgumentName=shown, ArgumentValue="")


def _tagging(document: str) -> str:
    """A tag set in XML as the header says it."""
    try:
        root = xml.parse(document.encode())
        pairs = [{child.tag.rpartition("}")[2]: child.text or "" for child in tag} for tag in root.iter("{*}Tag")]
        return urlencode([(pair["Key"], pair["Value"]) for pair in pairs])
    except (scalars.Malformed, KeyError):
        raise MalformedXml() from None


async def _limited(file: Body, least: int, most: int) -> AsyncIterator[bytes]:
    size = 0
    async for data in file:
        size += len(data)
        if size > most:
            raise TooLarge(ProposedSize=size, MaxSizeAllowed=most)
        yield data
    if size < least:
        raise TooSmall(ProposedSize=size, MinSizeAllowed=least)


class _Reader:
    """Reads parts: the fields whole, then the file piece by piece, then what follows and counts for nothing."""

    def __init__(self, request: Request) -> None:
        self.fields: dict[str, str] = {}
        self.in_file = False
        self.filename: str | None = None
        self._chunks = aiter(request.body)
        boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
        self._name, self._headers = "", dict[bytes, bytes]()
        self._header = (b"", b"")  # its name and value, as far as they came
        self._value: list[bytes] = []
        self._parts, self._fields_bytes, self._after_bytes, self._ended = 0, 0, 0, False
        self._file: deque[bytes] = deque()
        try:
            self._parser = MultipartParser(boundary or b"\r", {
                "on_part_begin": self._on_part_begin, "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value, "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished, "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end, "on_end": self._on_end})
        except FormParserError:
            boundary = b""
        if not boundary:
            raise Malformed()

    async def read_fields(self) -> None:
        """Until the file begins, or the form ends without one."""
        while not self.in_file and await self._feed():
            pass

    async def file(self) -> AsyncIterator[bytes]:
        """The file's bytes. Raises Malformed where the form does not end as it should."""
        while True:
            while self._file:
                yield self._file.popleft()
            if not await self._feed():
                return

    async def _feed(self) -> bool:
        """Parses what comes next; False at the end."""
        try:
            data = await anext(self._chunks, b"")
        except BodyTruncated:
            raise Malformed() from None
        try:
            if data:
                self._parser.write(data)
        except FormParserError:
            raise Malformed() from None
        if not data and not self._ended:
            raise Malformed()
        return bool(data)

    # what the parser calls

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise FieldsTooLarge(MaxPostPreDataLengthBytes=FIELDS_BYTES_MAX)
        self._headers, self._value, self._name = {}, [], ""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header = self._header[0] + data[start:end], b""

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header = self._header[0], self._header[1] + data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = (b"", b"")

    def _on_headers_finished(self) -> None:
        said = parse_options_header(self._headers.get(b"content-disposition", b"").decode("latin-1"))[1]
        self._name = said.get(b"name", b"").decode("latin-1").lower()
        if not self._name and not self.in_file:
            raise Malformed()
        if self._name != "file":
            return
        if self.in_file:
            raise InvalidArgument("POST requires exactly one file upload per request.", ArgumentName="file",
                                  ArgumentValue="2")
        self.in_file = True
        if b"filename" in said:
            self.filename = said[b"filename"].decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self._file.append(data[start:end])
        else:
            self._count(end - start)
            if not self.in_file:
                self._value.append(data[start:end])

    def _on_part_end(self) -> None:
        if not self.in_file:
            self.fields[self._name] = b"".join(self._value).decode("utf-8", "replace")

    def _on_end(self) -> None:
        self._ended = True

    def _count(self, size: int) -> None:
        self._fields_bytes += size
        if self._fields_bytes > FIELDS_BYTES_MAX + (AFTER_BYTES_MAX if self.in_file else 0):
            raise FieldsTooLarge(MaxPostPreDataLengthBytes=FIELDS_BYTES_MAX)
