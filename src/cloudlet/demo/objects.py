"""Chapter three: a folder lies in a bucket, is shown by a link, and comes back after it was deleted."""

import json
import os
from typing import Any

from cloudlet.demo.stage import Stage

BUCKET = "cloudlet-demo-files"
WHERE, NOTES, VIDEO = f"s3://{BUCKET}", "notes.txt", "videos/holiday.mp4"
VIDEO_BYTES = 20 * 1024 * 1024  # enough that the client sends it in parts
TAKEN = 1_700_000_000  # when the files were made, long ago
FIRST, SECOND = "the first words\n", "other words\n"


def chapter(stage: Stage) -> None:
    """A folder, its bucket, and the way from each to the other."""
    stage.chapter("Files in a bucket")
    _fill(stage)
    _sync(stage)
    _sync_again(stage)
    _show(stage)
    _keep_versions(stage)
    _undelete(stage)
    _go_back(stage)
    _clean_up(stage)


def _fill(stage: Stage) -> None:
    folder = stage.directory / "files"
    (folder / "videos").mkdir(parents=True)
    (folder / NOTES).write_text(FIRST)
    (folder / VIDEO).write_bytes(bytes(range(256)) * (VIDEO_BYTES // 256))
    for name in (NOTES, VIDEO):  # S3 knows seconds: what is as young as its upload would be sent again
        os.utime(folder / name, (TAKEN, TAKEN))


def _sync(stage: Stage) -> None:
    with stage.step("Make a bucket, and sync a folder to it"):
        stage.run("aws", "s3", "mb", WHERE)
        stage.later("the bucket", lambda: _delete_bucket(stage, shown=False))
        stage.run("aws", "s3", "sync", "files", WHERE, "--no-progress", print_output=True)
        listed = stage.run("aws", "s3", "ls", WHERE, "--recursive", "--human-readable", print_output=True)
        stage.check(len(listed.splitlines()) == 2, "the bucket has what the folder has")


def _sync_again(stage: Stage) -> None:
    with stage.step("Add a file, sync again: only what is new goes there"):
        (stage.directory / "files" / "new.txt").write_text("new\n")
        moved = stage.run("aws", "s3", "sync", "files", WHERE, "--delete", "--no-progress", print_output=True)
        stage.check(len(moved.splitlines()) == 1, "nothing else was sent")


def _show(stage: Stage) -> None:
    plain = f"{stage.url}/{BUCKET}/{NOTES}"
    with stage.step("Nobody else can read it, but whoever has a presigned link, until it expires"):
        refused = stage.run("curl", "-sS", "-m", "5", plain)
        stage.check("AccessDenied" in refused, "a stranger is refused")
        stage.say("AccessDenied")
        link = stage.run("aws", "s3", "presign", f"{WHERE}/{NOTES}", "--expires-in", "300").strip()
        stage.check(stage.run("curl", "-sS", "-m", "5", link, print_output=True) == FIRST, "the link opens the file")
        part = stage.run("curl", "-sS", "-m", "5", "-r", "0-8", link, print_output=True)
        stage.check(part == FIRST[:9], "a part of it can be asked for")


def _keep_versions(stage: Stage) -> None:
    with stage.step("Keep versions from now on; change a file, and delete it"):
        stage.aws("s3api", "put-bucket-versioning", "--bucket", BUCKET, "--versioning-configuration",
                  "Status=Enabled")
        (stage.directory / "files" / NOTES).write_text(SECOND)
        stage.run("aws", "s3", "cp", f"files/{NOTES}", f"{WHERE}/{NOTES}", "--no-progress")
        stage.run("aws", "s3", "rm", f"{WHERE}/{NOTES}", print_output=True)
        gone = stage.run("aws", "s3", "ls", WHERE, print_output=True)
        stage.check(NOTES not in gone, "the file is gone")


def _versions(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = stage.aws("s3api", "list-object-versions", "--bucket", BUCKET, "--prefix", NOTES)
    for version in [*found.get("DeleteMarkers", ()), *found.get("Versions", ())]:
        what = f"{version['Size']} bytes" if "Size" in version else "delete marker"
        stage.say(f"{version['VersionId']}  {what}{', latest' if version['IsLatest'] else ''}")
    return found


def _undelete(stage: Stage) -> None:
    with stage.step("Undelete it: take the delete marker away"):
        [marker] = _versions(stage)["DeleteMarkers"]
        stage.aws("s3api", "delete-object", "--bucket", BUCKET, "--key", NOTES, "--version-id", marker["VersionId"])
        found = stage.run("aws", "s3", "cp", f"{WHERE}/{NOTES}", "-", print_output=True)
        stage.check(found == SECOND, "the file is back")


def _go_back(stage: Stage) -> None:
    with stage.step("Go back to the version before: copy it over the newest"):
        oldest = _versions(stage)["Versions"][-1]["VersionId"]
        stage.aws("s3api", "copy-object", "--bucket", BUCKET, "--key", NOTES, "--copy-source",
                  f"{BUCKET}/{NOTES}?versionId={oldest}")
        found = stage.run("aws", "s3", "cp", f"{WHERE}/{NOTES}", "-", print_output=True)
        stage.check(found == FIRST, "the first words are back")


def _delete_bucket(stage: Stage, *, shown: bool = True) -> None:
    found = stage.aws("s3api", "list-object-versions", "--bucket", BUCKET, shown=shown)
    every = [{"Key": version["Key"], "VersionId": version["VersionId"]}
             for version in [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]]
    (stage.directory / "every.json").write_text(json.dumps({"Objects": every, "Quiet": True}))
    stage.aws("s3api", "delete-objects", "--bucket", BUCKET, "--delete", "file://every.json", shown=shown)
    stage.run("aws", "s3", "rb", WHERE, shown=shown)


def _clean_up(stage: Stage) -> None:
    with stage.step("Delete it all, every version"):
        _delete_bucket(stage)
        stage.forget("the bucket")
