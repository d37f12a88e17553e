"""The rows of uploads' parts: put, and forgotten with the bytes that nothing else has."""

from collections.abc import Iterable
from typing import Any

from cloudlet.services.s3 import contents
from cloudlet.services.s3.records import About, encode_about
from cloudlet.store.db import Tx


def put(tx: Tx, upload: str, number: int, size: int, etag: str, sums: dict[str, str], crc64: bytes,
        content: int) -> None:
    """Makes a content a part of an upload; what the part was goes. Where it begins in the object is known on
    completion."""
    before: list[Any] = tx.execute("delete from s3_part where upload=? and number=? returning content",
                                   (upload, number)).fetchall()
    tx.execute("insert into s3_part (upload, number, size, etag, modified_ms, about, crc64, content, start) values"
               " (?,?,?,?,?,?,?,?,0)",
               (upload, number, size, etag, int(tx.now * 1000), encode_about(About(checksums=sums)), crc64, content))
    for (old,) in before:
        contents.release(tx, old)


def share(tx: Tx, upload: str) -> str:
    """Another upload's worth of the same parts, whose bytes are shared; its id."""
    copy = tx.token(64)
    tx.execute("insert into s3_part (upload, number, size, etag, modified_ms, about, crc64, content, start) select ?,"
               " number, size, etag, modified_ms, about, crc64, content, start from s3_part where upload=?",
               (copy, upload))
    rows: list[Any] = tx.execute("select content from s3_part where upload=?", (copy,)).fetchall()
    for (content,) in rows:  # perhaps one of them more than once
        contents.share(tx, content)
    return copy


def forget(tx: Tx, upload: str, kept: Iterable[int] = ()) -> None:
    """Forgets the parts of an upload, but for those of some numbers."""
    spared = set(kept)
    rows: list[Any] = tx.execute("select number, content from s3_part where upload=?", (upload,)).fetchall()
    for number, content in rows:
        if number not in spared:
            tx.execute("delete from s3_part where upload=? and number=?", (upload, number))
            contents.release(tx, content)


def drop_upload(tx: Tx, upload: str) -> None:
    """Forgets an upload under way, and its parts."""
    tx.execute("delete from s3_upload where id=?", (upload,))
    forget(tx, upload)


def drop_uploads(tx: Tx, bucket: int) -> None:
    """The same of all uploads to a bucket."""
    rows: list[Any] = tx.execute("select id from s3_upload where bucket=?", (bucket,)).fetchall()
    for (upload,) in rows:
        drop_upload(tx, upload)
