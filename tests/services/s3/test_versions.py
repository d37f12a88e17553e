"""Versions, by PutBucketVersioning and GetBucketVersioning: enabled, suspended, and never enabled."""

from pathlib import Path

from tests.services.s3.counter import Answer, Counter


def set_versioning(counter: Counter, status: str) -> Answer:
    return counter.ask("PUT", "/bkt", f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>"
                       .encode(), versioning="")


def put(counter: Counter, data: bytes) -> str:
    return counter.ask("PUT", "/bkt/key", data).headers.get("x-amz-version-id", "")


def test_that_mfa_delete_is_off_is_told_to_who_said_so(counter: Counter) -> None:
    def said() -> str | None:
        return counter.ask("GET", "/bkt", versioning="").xml.findtext("MfaDelete")
    set_versioning(counter, "Enabled")
    assert said() is None
    body = b"<VersioningConfiguration><MfaDelete>%s</MfaDelete><Status>Enabled</Status></VersioningConfiguration>"
    assert counter.ask("PUT", "/bkt", body % b"Enabled", versioning="").status == 501
    assert counter.ask("PUT", "/bkt", body % b"Disabled", versioning="").status == 200
    assert said() == "Disabled"


def test_the_state_of_versioning(counter: Counter) -> None:
    assert counter.ask("GET", "/bkt", versioning="").xml.find("Status") is None
    for status in ("Enabled", "Suspended", "Enabled"):
        assert set_versioning(counter, status).status == 200
        assert counter.ask("GET", "/bkt", versioning="").xml.findtext("Status") == status
    assert set_versioning(counter, "Off").code == "MalformedXML"
    assert counter.ask("PUT", "/bkt", b"<VersioningConfiguration/>", versioning="").status == 400


def test_versions_stay_until_they_are_deleted(counter: Counter) -> None:
    assert put(counter, b"old") == ""
    set_versioning(counter, "Enabled")
    one, two = put(counter, b"one"), put(counter, b"two")
    assert len({one, two, "null"}) == 3
    for version, data in ((one, b"one"), (two, b"two"), ("null", b"old")):
        got = counter.ask("GET", "/bkt/key", versionId=version)
        assert (got.body, got.headers["x-amz-version-id"]) == (data, version)
    assert counter.ask("GET", "/bkt/key").body == b"two"
    counter.ask("DELETE", "/bkt/key", versionId=two)
    assert counter.ask("GET", "/bkt/key").body == b"one"
    assert counter.ask("GET", "/bkt/key", versionId=two).code == "NoSuchVersion"
    for version in ("a b", two[:-4] + "ABCD", "HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD"):
        assert counter.ask("GET", "/bkt/key", versionId=version).code == "InvalidArgument"
        assert counter.ask("DELETE", "/bkt/key", versionId=version).code == "InvalidArgument"


def test_a_marker_covers_what_was_there(counter: Counter) -> None:
    set_versioning(counter, "Enabled")
    one = put(counter, b"one")
    deleted = counter.ask("DELETE", "/bkt/key")
    marker = deleted.headers["x-amz-version-id"]
    assert deleted.headers["x-amz-delete-marker"] == "true"
    gone = counter.ask("GET", "/bkt/key")
    assert (gone.code, gone.headers["x-amz-delete-marker"], gone.headers["x-amz-version-id"]) == (
        "NoSuchKey", "true", marker)
    refused = counter.ask("GET", "/bkt/key", versionId=marker)
    assert (refused.status, refused.code, refused.headers["x-amz-delete-marker"]) == (405, "MethodNotAllowed", "true")
    assert refused.headers["allow"] == "DELETE"
    assert counter.ask("GET", "/bkt/key", versionId=one).body == b"one"
    undeleted = counter.ask("DELETE", "/bkt/key", versionId=marker)
    assert undeleted.headers["x-amz-delete-marker"] == "true"
    assert counter.ask("GET", "/bkt/key").body == b"one"


def test_what_suspended_buckets_replace_is_the_null_version(counter: Counter) -> None:
    set_versioning(counter, "Enabled")
    one = put(counter, b"one")
    set_versioning(counter, "Suspended")
    assert put(counter, b"two") == put(counter, b"three") == ""  # as on AWS; who reads it is told
    assert counter.ask("GET", "/bkt/key").headers["x-amz-version-id"] == "null"
    assert counter.rows("s3_version") == 2
    deleted = counter.ask("DELETE", "/bkt/key")
    assert (deleted.headers["x-amz-version-id"], deleted.headers["x-amz-delete-marker"]) == ("null", "true")
    assert (counter.rows("s3_version"), counter.rows("s3_content")) == (2, 1)
    assert counter.ask("GET", "/bkt/key", versionId=one).body == b"one"
    counter.ask("DELETE", "/bkt/key", versionId="null")
    assert counter.ask("GET", "/bkt/key").body == b"one"


def test_ids_go_on_from_those_of_older_stores(tmp_path: Path) -> None:
    counter = Counter(tmp_path)
    counter.ask("PUT", "/bkt")
    counter.ask("PUT", "/bkt/old", b"old")
    with counter.store.tx() as tx:
        tx.execute("update s3_content set id=41")
        tx.execute("update s3_version set id=40, content=41")
        tx.execute("delete from rising where name='s3'")  # which older stores have not
    counter.store.close()
    counter.close()
    again = Counter(tmp_path)
    again.ask("PUT", "/bkt/new", b"new")
    with again.store.tx() as tx:
        assert tx.rows("select id, content from s3_version order by id") == [(40, 41), (43, 42)]
    assert [again.ask("GET", f"/bkt/{key}").body for key in ("old", "new")] == [b"old", b"new"]
    again.close()
