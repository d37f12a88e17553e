"""Reading conmon's logs: no line lost, none doubled, whatever is unfinished, long, mixed or not text."""

import random
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudlet.engines import container_log
from cloudlet.engines.container_log import LINE_MAX, read
from cloudlet.engines.ports import LogLine
from tests.engines.podman_ground import PodmanGround, podman_ground, real

NOW = 1_700_000_000.0


def stamp(seconds: float = 0.0) -> str:
    return f"2023-11-14T22:13:{20 + seconds:012.9f}+00:00"


def record(text: str, *, tag: str = "F", stream: str = "stdout", at: float = 0.0) -> bytes:
    return f"{stamp(at)} {stream} {tag} {text}\n".encode()


def drain(path: Path, *, limit: int = 10_000, ended: bool = True, now: float = NOW, offset: int = 0) -> list[LogLine]:
    """All lines, read in chunks."""
    lines: list[LogLine] = []
    while True:
        chunk = read(path, offset, limit, ended=ended, now=now)
        assert len(chunk.lines) <= max(limit, 2)
        assert chunk.next_offset >= offset
        lines += chunk.lines
        if chunk.whole or chunk.next_offset == offset:
            assert chunk.whole == ended
            return lines
        offset = chunk.next_offset


def test_lines_and_their_times(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(record("one") + record("", at=0.25) + record("two  words ", stream="stderr", at=1.5)
                    + b"2023-11-14T23:13:25.000000001+01:00 stdout F offset\n")
    assert read(log, 0, 100, ended=True, now=NOW).lines == (
        LogLine(NOW, "stdout", "one"), LogLine(NOW + 0.25, "stdout", ""), LogLine(NOW + 1.5, "stderr", "two  words "),
        LogLine(NOW + 5 + 1e-9, "stdout", "offset"))


def test_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    chunk = read(tmp_path / "log", 0, 100, ended=False, now=NOW)
    assert (chunk.lines, chunk.next_offset, chunk.whole) == ((), 0, False)


def test_what_is_still_being_written_waits(tmp_path: Path) -> None:
    log = tmp_path / "log"
    whole = record("one") + record("tw", tag="P") + record("o")
    for cut in range(0, len(whole) + 1, 3):
        log.write_bytes(whole[:cut])
        first = read(log, 0, 100, ended=False, now=NOW)
        log.write_bytes(whole)
        rest = read(log, first.next_offset, 100, ended=True, now=NOW)
        assert [line.text for line in (*first.lines, *rest.lines)] == ["one", "two"], cut
        assert rest.whole


def test_invalid_text_and_foreign_records_do_no_harm(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"nonsense\n\n" + record("a")[:-1] + b"\xff\xfe\x00b\n" + b"when stdout F c\n" + record("d")[:-1])
    assert [line.text for line in drain(log)] == ["a��\0b", "c"]


def test_parts_of_both_streams_are_joined_apart(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(record("out-", tag="P") + record("err-", tag="P", stream="stderr") + record("1")
                    + record("1", stream="stderr") + record("end"))
    expected = [("stdout", "out-1"), ("stderr", "err-1"), ("stdout", "end")]
    for limit in (3, 100):
        assert [(line.stream, line.text) for line in drain(log, limit=limit)] == expected


def test_a_prompt_does_not_hold_the_other_stream_back(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(record("name? ", tag="P") + record("oops", stream="stderr", at=0.5))
    assert drain(log, ended=False, now=NOW + 0.6) == []  # its end may come
    chunk = read(log, 0, 100, ended=False, now=NOW + 2)
    assert [line.text for line in chunk.lines] == ["oops", "name? "]
    with log.open("ab") as more:
        more.write(record("Ann", at=9))
    assert [line.text for line in drain(log, offset=chunk.next_offset)] == ["Ann"]
    log.write_bytes(record("name? ", tag="P"))
    assert drain(log, ended=False, now=NOW + 1000) == []  # nobody waits behind it
    assert [line.text for line in drain(log)] == ["name? "]


def test_a_line_without_end_comes_in_pieces(tmp_path: Path) -> None:
    log = tmp_path / "log"
    part = "x" * 8192
    with log.open("wb") as out:
        for _ in range(2000):
            out.write(record(part, tag="P"))
        out.write(record("end"))
    lines = drain(log)
    assert "".join(line.text for line in lines) == part * 2000 + "end"
    assert all(LINE_MAX - 8192 < len(line.text) <= LINE_MAX for line in lines[:-1])


def test_a_line_written_byte_by_byte_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"".join(record(".", tag="P") for _ in range(20_000)) + record("!") + record("next"))
    assert [len(line.text) for line in drain(log)] == [20_001, 4]


def test_what_was_shipped_is_given_back_to_the_disk(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"".join(record(f"{number:090d}") for number in range(20_000)))
    blocks = log.stat().st_blocks
    chunk = read(log, 0, 10_000, ended=False, now=NOW)
    container_log.forget(log, chunk.next_offset)
    assert log.stat().st_blocks < blocks
    texts = [line.text for line in drain(log, offset=chunk.next_offset)]
    assert texts[0] == f"{len(chunk.lines):090d}"
    assert len(texts) == 20_000 - len(chunk.lines)
    late = [line.text for line in drain(log)]  # somebody who asks for what is forgotten goes on with what is there
    assert late[-1] == texts[-1]
    assert 0 <= len(late) - len(texts) < 64
    container_log.forget(tmp_path / "nothing", 4096)


def test_chance(tmp_path: Path) -> None:
    """Any mixture, cut anywhere, read with any limit: each stream's text is complete and in order."""
    log = tmp_path / "log"
    for seed in range(30):
        chance = random.Random(seed)
        said = {"stdout": "", "stderr": ""}
        records, at = [], 0.0
        for number in range(200):
            stream = chance.choice(["stdout", "stderr"])
            at = min(at + chance.choice([0.0, 0.001, 0.3]), 35.0)
            text, tag = f"{number}" * chance.choice([1, 1, 1, 1, 500]), chance.choice("FFFP")
            said[stream] += text
            records.append(record(text, tag=tag, stream=stream, at=at))
        whole = b"".join(records)
        lines: list[LogLine] = []
        size, offset, done = 0, 0, False
        while not done:
            size = min(size + chance.randrange(1, 6000), len(whole))
            log.write_bytes(whole[:size])
            chunk = read(log, offset, chance.choice([2, 7, 1000]), ended=size == len(whole), now=NOW + 36)
            lines, offset, done = [*lines, *chunk.lines], chunk.next_offset, chunk.whole
        for stream, text in said.items():
            assert "".join(line.text for line in lines if line.stream == stream) == text, seed
        assert [line.timestamp for line in lines] == sorted(line.timestamp for line in lines)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanGround]:
    with podman_ground(tmp_path_factory.mktemp("podman")) as found:
        yield found


@real
def test_a_large_log_is_complete_when_the_exit_is_seen(ground: PodmanGround) -> None:
    async def main() -> None:
        plane = ground.start()
        spec = plane.spec("large", "yes 'a line of text' | head -n 150000; printf 'no end'; printf 'err' >&2")
        await plane.containers.ensure(spec)
        offset, count, texts = 0, 0, set()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        while True:
            chunk = await plane.containers.read_log(spec.name, offset)
            count, offset = count + len(chunk.lines), chunk.next_offset
            texts.update(line.text for line in chunk.lines)
            if chunk.whole:
                break
            if not chunk.lines:
                await plane.podman.clock.sleep(0.01)
        assert count == 150_002
        assert texts == {"a line of text", "no end", "err"}
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB
        await plane.containers.destroy(spec.name)
        assert not container_log.read(plane.containers._records.path(spec.name, "log"), 0, 9, ended=True, now=0).lines
    ground.run(main())
