"""Buckets with and without versions, against lists of Python: what is put, completed and deleted in any order is what
is got and listed, page by page."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.services.s3.counter import Counter
from tests.services.s3.test_deletions import delete
from tests.services.s3.test_uploads import begin, complete, send

KEYS = st.sampled_from(["a", "a/b", "a/b/c", "a//", "é/x", "z\U0001f600"])
PREFIXES = st.sampled_from(["", "a", "a/", "a/b", "é/", "z", "nothing"])
DELIMITERS = st.sampled_from(["", "/", "b", "//"])


@dataclass(frozen=True)
class Kept:
    """A version as the model has it; `data` is None for a delete marker."""

    version: str
    data: bytes | None


class Buckets(RuleBasedStateMachine):
    """One bucket, and for each key its versions, the oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="cloudlet-model-")
        self.counter = Counter(Path(self.directory.name))
        self.counter.ask("PUT", "/bkt")
        self.kept: dict[str, list[Kept]] = {}
        self.status, self.number = "", 0

    def teardown(self) -> None:
        self.counter.close()
        self.counter.store.close()
        self.directory.cleanup()

    # ── The model ────────────────────────────────────────────────────────────────────────────────────────────────

    def _add(self, key: str, version: str, data: bytes | None) -> None:
        versions = self.kept.setdefault(key, [])
        if self.status != "Enabled":
            assert version == "null"
            versions[:] = [each for each in versions if each.version != "null"]
        versions.append(Kept(version, data))

    def _drop(self, key: str, version: str) -> Kept | None:
        for each in self.kept.get(key, []):
            if each.version == version:
                self.kept[key].remove(each)
                return each
        return None

    def _current(self, key: str) -> Kept | None:
        versions = self.kept.get(key)
        return versions[-1] if versions else None

    def _objects(self) -> list[str]:
        return sorted((key for key in self.kept if (now := self._current(key)) and now.data is not None),
                      key=str.encode)

    def _check(self, key: str) -> None:
        """What is got of a key, and of each of its versions."""
        answer, now = self.counter.ask("GET", f"/bkt/{key}"), self._current(key)
        if now is None or now.data is None:
            assert (answer.status, answer.headers.get("x-amz-delete-marker")) == (404, "true" if now else None)
        else:
            assert (answer.body, answer.headers.get("x-amz-version-id", "null")) == (now.data, now.version)
        for each in self.kept.get(key, []):
            one = self.counter.ask("GET", f"/bkt/{key}", versionId=each.version)
            assert (one.status, one.body) == (200, each.data) if each.data is not None else one.status == 405

    # ── What is done ─────────────────────────────────────────────────────────────────────────────────────────────

    @rule(status=st.sampled_from(["Enabled", "Suspended"]))
    def set_versioning(self, status: str) -> None:
        body = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>".encode()
        assert self.counter.ask("PUT", "/bkt", body, versioning="").status == 200
        self.status = status

    @rule(key=KEYS)
    def put(self, key: str) -> None:
        self.number += 1
        data = b"%d" % self.number
        answer = self.counter.ask("PUT", f"/bkt/{key}", data)
        assert answer.status == 200
        self._add(key, answer.headers.get("x-amz-version-id", "null"), data)
        self._check(key)

    @rule(key=KEYS)
    def put_in_parts(self, key: str) -> None:
        self.number += 1
        data, upload = b"part %d" % self.number, begin(self.counter, key)
        etag = send(self.counter, upload, 7, data, key).headers["etag"]
        answer = complete(self.counter, upload, [(7, etag)], key)
        self._add(key, answer.headers.get("x-amz-version-id", "null"), data)
        self._check(key)

    @rule(key=KEYS, etag=st.sampled_from(["*", '"no"']))
    def put_where_nothing_is(self, key: str, etag: str) -> None:
        now = self._current(key)
        there = now is not None and now.data is not None
        headers = {"if-none-match": "*"} if etag == "*" else {"if-match": etag}
        answer = self.counter.ask("PUT", f"/bkt/{key}", b"new", headers=headers)
        expected = (412 if there else 200) if etag == "*" else (412 if there else 404)
        assert answer.status == expected
        if expected == 200:
            self._add(key, answer.headers.get("x-amz-version-id", "null"), b"new")

    @rule(key=KEYS, many=st.booleans())
    def delete(self, key: str, many: bool) -> None:
        if many:
            told = delete(self.counter, f"<Key>{key}</Key>").xml.find("Deleted")
            version, marker = told.findtext("DeleteMarkerVersionId"), told.findtext("DeleteMarker")
        else:
            headers = self.counter.ask("DELETE", f"/bkt/{key}").headers
            version, marker = headers.get("x-amz-version-id"), headers.get("x-amz-delete-marker")
        assert marker == ("true" if self.status else None)
        if self.status:
            self._add(key, str(version), None)
        else:
            self._drop(key, "null")
        self._check(key)

    @rule(key=KEYS, index=st.integers(0, 5))
    def delete_version(self, key: str, index: int) -> None:
        versions = self.kept.get(key) or [Kept("null", b"")]
        version = versions[index % len(versions)].version
        answer = self.counter.ask("DELETE", f"/bkt/{key}", versionId=version)
        gone = self._drop(key, version)
        assert answer.headers.get("x-amz-delete-marker") == ("true" if gone and gone.data is None else None)
        self._check(key)

    # ── What is seen ─────────────────────────────────────────────────────────────────────────────────────────────

    @rule(prefix=PREFIXES, delimiter=DELIMITERS, size=st.integers(1, 4), v2=st.booleans())
    def list_objects(self, prefix: str, delimiter: str, size: int, v2: bool) -> None:
        entries = rolled([(key,) for key in self._objects()], prefix, delimiter)
        query = {"prefix": prefix, "delimiter": delimiter, "max_keys": str(size), **({"list_type": "2"} if v2 else {})}

        def onward(page: Any, last: str) -> dict[str, str]:
            if v2:
                return {"continuation_token": page.findtext("NextContinuationToken")}
            return {"marker": page.findtext("NextMarker") or last}
        found = self._pages(query, ("Contents",), size, lambda each: (each.findtext("Key"),), onward)
        assert found == entries

    @rule(prefix=PREFIXES, delimiter=DELIMITERS, size=st.integers(1, 4))
    def list_versions(self, prefix: str, delimiter: str, size: int) -> None:
        rows = [(key, each.version, each is self.kept[key][-1], each.data is None)
                for key in sorted(self.kept, key=str.encode) for each in reversed(self.kept[key])]

        def onward(page: Any, last: str) -> dict[str, str]:
            version = page.findtext("NextVersionIdMarker")
            return {"key_marker": page.findtext("NextKeyMarker"), **({"version_id_marker": version} if version else {})}
        found = self._pages(
            {"versions": "", "prefix": prefix, "delimiter": delimiter, "max_keys": str(size)},
            ("Version", "DeleteMarker"), size,
            lambda each: (each.findtext("Key"), each.findtext("VersionId"), each.findtext("IsLatest") == "true",
                          each.tag == "DeleteMarker"), onward)
        assert sorted(found) == sorted(rolled(rows, prefix, delimiter))

    def _pages(self, query: dict[str, str], tags: tuple[str, ...], size: int, row: Callable[[Any], Any],
               onward: Callable[[Any, str], dict[str, str]]) -> list[Any]:
        """All entries of a listing, each page in order."""
        found: list[Any] = []
        more: dict[str, str] = {}
        for _ in range(100):
            page = self.counter.ask("GET", "/bkt", **query, **more).xml
            entries = [row(each) for tag in tags for each in page.findall(tag)]
            entries += [(each.text,) for each in page.findall("CommonPrefixes/Prefix")]
            entries.sort(key=lambda each: each[0].encode())
            found += entries
            if page.findtext("IsTruncated") == "false":
                return found
            assert len(entries) == size
            more = onward(page, entries[-1][0])
        raise AssertionError("a listing that does not end")

    @invariant()
    def nothing_is_left_over(self) -> None:
        self.counter.work()
        kept = sum(map(len, self.kept.values()))
        bodies = sum(each.data is not None for versions in self.kept.values() for each in versions)
        assert (self.counter.rows("s3_version"), self.counter.rows("s3_content")) == (kept, bodies)


def rolled(rows: list[Any], prefix: str, delimiter: str) -> list[Any]:
    """What a listing shows of rows (the key first): those of the prefix, and common prefixes once each."""
    found: list[Any] = []
    for row in rows:
        if row[0].startswith(prefix):
            head, mark, _ = row[0][len(prefix):].partition(delimiter) if delimiter else ("", "", "")
            entry = (prefix + head + mark,) if mark else row
            if entry not in found:
                found.append(entry)
    return found


Buckets.TestCase.settings = settings(max_examples=20, stateful_step_count=25,
                                     suppress_health_check=list(HealthCheck))
TestBuckets = Buckets.TestCase
