"""The rows of uploads' parts: put, and forgotten with the bytes that nothing else has."""

from collections.abc import Iterable
from typing import Any

from cloudlet.services.s3 import contents
from cloudlet.services.s3.records import About, decode_about, encode_about
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


def forget(tx: Tx, upload: str, numbers: Iterable[int]) -> None:
    """Forgets some parts of an upload."""
    for number in numbers:
        rows: list[Any] = tx.execute("delete from s3_part where upload=? and number=? returning content",
                                     (upload, number)).fetchall()
        for (content,) in rows:
            contents.release(tx, content)


def drop(tx: Tx, upload: str) -> None:
    """Has the parts of an upload forgotten that nothing names any more, soon: there may be thousands."""
    tx.execute("insert into s3_gone values (?) on conflict do nothing", (upload,))
    tx.enqueue(contents.GARBAGE, "files")


def drop_upload(tx: Tx, upload: str) -> None:
    """Forgets an upload under way, and its parts."""
    tx.execute("delete from s3_upload where id=?", (upload,))
    drop(tx, upload)


def drop_uploads(tx: Tx, bucket: int) -> None:
    """The same of all uploads to a bucket."""
    tx.execute("insert into s3_gone select id from s3_upload where bucket=? on conflict do nothing", (bucket,))
    tx.execute("delete from s3_upload where bucket=?", (bucket,))
    tx.enqueue(contents.GARBAGE, "files")


def disturb(tx: Tx, bucket: int, key: str) -> None:
    """Lets the uploads of a key know that something of it was deleted, of which else nothing may tell."""
    rows: list[Any] = tx.execute("select id, about from s3_upload where bucket=? and key=?", (bucket, key)).fetchall()
    for upload, about in rows:
        tx.execute("update s3_upload set about=? where id=?",
                   (encode_about(decode_about(about).replace(disturbed=True)), upload))


def collect(tx: Tx, limit: int) -> bool:
    """Forgets the next parts of what was dropped; whether there may be more."""
    row: Any = tx.execute("select upload from s3_gone limit 1").fetchone()
    if row is None:
        return False
    (upload,) = row
    numbers: list[Any] = tx.execute("select number from s3_part where upload=? limit ?", (upload, limit)).fetchall()
    forget(tx, upload, [number for (number,) in numbers])
    if len(numbers) < limit:
        tx.execute("delete from s3_gone where upload=?", (upload,))
    return True
