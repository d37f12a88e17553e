"""The walk-through's chapters do what they say, and leave nothing."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudlet.demo import objects, queues
from cloudlet.demo.stage import Failed, Stage
from tests.running import Cloudlet

AWS = str(Path(sys.executable).with_name("aws"))
pytestmark = pytest.mark.engine("curl")


@pytest.fixture
def stage(cloudlet: Cloudlet) -> Iterator[Stage]:
    stage = Stage(cloudlet.url, AWS, str(cloudlet.data_dir))
    yield stage
    stage.clean_up()
    assert not stage.directory.exists()
    assert_nothing_is_left(cloudlet)


def assert_nothing_is_left(cloudlet: Cloudlet) -> None:
    assert cloudlet.client("s3").list_buckets()["Buckets"] == []
    assert cloudlet.client("sns").list_topics()["Topics"] == []
    assert "QueueUrls" not in cloudlet.client("sqs").list_queues()


def test_the_chapter_of_objects(stage: Stage, cloudlet: Cloudlet, capsys: pytest.CaptureFixture[str]) -> None:
    objects.chapter(stage)
    said = capsys.readouterr().out
    assert (said.count("▸"), said.count("✓")) == (7, 7)
    assert all(words in said for words in ("AccessDenied", objects.FIRST.strip(), "delete marker, latest"))
    assert_nothing_is_left(cloudlet)


def test_the_chapter_of_queues(stage: Stage, cloudlet: Cloudlet, capsys: pytest.CaptureFixture[str]) -> None:
    queues.chapter(stage)
    said = capsys.readouterr().out
    assert (said.count("▸"), said.count("✓")) == (7, 7)
    assert all(words in said for words in (
        *queues.STEPS, f"s of {queues.WAIT_S})", f"{queues.BOOK}, from arn:aws:sqs:"))
    assert_nothing_is_left(cloudlet)


def test_it_cleans_up_where_a_step_fails(stage: Stage, cloudlet: Cloudlet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_go_back", lambda stage: stage.check(False, "this"))
    with pytest.raises(Failed, match="this should hold: this"):
        objects.chapter(stage)
    assert len(cloudlet.client("s3").list_buckets()["Buckets"]) == 1
