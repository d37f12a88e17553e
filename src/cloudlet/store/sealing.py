"""Secrets at rest: what customers entrust to us is encrypted with a key that lies beside the database, not in it.

A copy of the database alone tells nobody what is sealed in it; both files together do.
"""

import base64
import binascii
import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloudlet.kernel.errors import AwsError

KEY_BYTES, NONCE_BYTES = 32, 12


class SealFailure(AwsError):
    """The key cannot be read or written, or what was sealed cannot be opened with it: another key sealed it, it was
    sealed for something else, or it is damaged. Not the customer's fault; the text says what is wrong."""


class Seal:
    """AES-256-GCM under the installation's key, which is drawn when the first secret is sealed.

    The key file has mode 0600 and is safe on the disk before anything sealed with it is.
    """

    def __init__(self, path: Path, token: Callable[[int], str]) -> None:
        """`path` is the key file's; `token` draws random hex digits, as `kernel.clock.Clock.token`."""
        self._path, self._token = path, token
        self._cipher: AESGCM | None = None

    def close(self, data: bytes, owner: str) -> str:
        """The data sealed for `owner` (whatever names what holds it), as base64. Raises SealFailure."""
        nonce = bytes.fromhex(self._token(2 * NONCE_BYTES))
        return base64.b64encode(nonce + self._opened().encrypt(nonce, data, owner.encode())).decode()

    def open(self, sealed: str, owner: str) -> bytes:
        """The data again. Raises SealFailure."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            return self._opened().decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], owner.encode())
        except (InvalidTag, ValueError, binascii.Error):
            raise SealFailure("What was encrypted cannot be decrypted with this installation's key.") from None

    def _opened(self) -> AESGCM:
        if self._cipher is None:
            try:
                key = self._key()
            except OSError as error:
                raise SealFailure(f"The file of this installation's key cannot be used: {error.strerror}") from error
            except ValueError:
                key = b""
            if len(key) != KEY_BYTES:
                raise SealFailure(f"The file of this installation's key should hold {2 * KEY_BYTES} hex digits.")
            self._cipher = AESGCM(key)
        return self._cipher

    def _key(self) -> bytes:
        try:
            return bytes.fromhex(self._path.read_text().strip())
        except FileNotFoundError:
            return self._draw()

    def _draw(self) -> bytes:
        """A new key, in its file for good."""
        text, made = self._token(2 * KEY_BYTES), self._path.with_suffix(".new")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # where a file of that name was left behind
            os.write(descriptor, text.encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        made.rename(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return bytes.fromhex(text)
