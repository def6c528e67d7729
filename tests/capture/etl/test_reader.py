# SPDX-License-Identifier: MIT
"""The reader on logs made for it: order, every header, every way a log can be incomplete."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from pathlib import Path

import pytest

from harness.capture.etl import record as headers
from harness.capture.etl import tracelog
from harness.capture.etl.clock import LogClock, iso
from harness.capture.etl.tracelog import TraceLog
from harness.errors import UsageError
from tests.capture.etl import encoder

T = encoder.START


def write(tmp_path: Path, *buffers: bytes) -> Path:
    """Write a log of these buffers."""
    path = tmp_path / "made.etl"
    path.write_bytes(b"".join(buffers))
    return path


def payloads(log: TraceLog) -> list[bytes]:
    """The payloads of all records but the log header's."""
    return [one.payload for one in log][1:]


def test_buffers_of_two_processors_are_merged_by_time(tmp_path: Path) -> None:
    """A processor's only buffer stands last in the file and holds the first and the last record."""
    path = write(
        tmp_path,
        encoder.header_buffer(),
        encoder.buffer(encoder.event(T + 20, b"b"), encoder.event(T + 30, b"c"), processor=1, sequence=1),
        encoder.buffer(encoder.event(T + 40, b"d"), processor=1, sequence=3),
        encoder.buffer(encoder.event(T + 10, b"a"), encoder.event(T + 50, b"e"), processor=0, sequence=2),
    )
    with TraceLog(path) as log:
        assert payloads(log) == [b"a", b"b", b"c", b"d", b"e"]
        assert [one.processor for one in log] == [0, 0, 1, 1, 1, 0]
        assert log.account.reasons() == []


def test_equal_stamps_come_out_by_processor(tmp_path: Path) -> None:
    """Each processor's own order is kept."""
    path = write(
        tmp_path,
        encoder.header_buffer(),
        encoder.buffer(encoder.event(T + 5, b"2a"), encoder.event(T + 5, b"2b"), processor=2, sequence=1),
        encoder.buffer(encoder.event(T + 5, b"1a"), encoder.event(T + 6, b"1b"), processor=1, sequence=2),
    )
    with TraceLog(path) as log:
        _header, first, second, third, last = log
        assert [one.payload for one in (first, second, third, last)] == [b"1a", b"2a", b"2b", b"1b"]


def test_long_runs_of_equal_stamps_come_out_by_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are decoded a few at a time; the pieces must not show in the order."""
    monkeypatch.setattr(tracelog, "CHUNK", 2)
    rows = [(time, processor) for processor in (3, 1, 2) for time in (1, 2, 2, 2, 2, 3, 3, 4)]
    path = write(
        tmp_path,
        encoder.header_buffer(),
        *(
            encoder.buffer(
                *(encoder.perf(T + time, 0x0F01) for time, one in rows if one == cpu), processor=cpu
            )
            for cpu in (3, 1, 2)
        ),
    )
    with TraceLog(path) as log:
        assert [(one.time - T, one.processor) for one in log][1:] == sorted(rows)


def test_records_out_of_order_within_a_buffer_are_sorted(tmp_path: Path) -> None:
    """A session without per-processor buffers may stamp first and reserve later."""
    path = write(
        tmp_path,
        encoder.header_buffer(mode=0x10000001),
        encoder.buffer(*(encoder.event(T + time, bytes([time])) for time in (2, 1, 4, 3))),
    )
    with TraceLog(path) as log:
        assert payloads(log) == [b"\1", b"\2", b"\3", b"\4"]
        assert "no per-processor buffering" in log.session.modes


def test_a_record_that_comes_too_late_is_counted(tmp_path: Path) -> None:
    """A buffer hides a record older than its first one; by then a later one has gone out."""
    path = write(
        tmp_path,
        encoder.header_buffer(),
        encoder.buffer(encoder.event(T + 10, b"x"), encoder.event(T + 20, b"y"), processor=0, sequence=1),
        encoder.buffer(encoder.event(T + 15, b"z"), encoder.event(T + 5, b"late"), processor=1, sequence=2),
    )
    with TraceLog(path) as log:
        assert sorted(payloads(log)) == [b"late", b"x", b"y", b"z"]
        assert log.account.late == 1
        assert log.account.reasons() == ["1 records are out of time order"]


def test_every_header_type_is_read(tmp_path: Path) -> None:
    """Each kind of record gives its time, its payload and what its header alone holds."""
    guid = uuid.UUID("11223344-5566-7788-99aa-bbccddeeff00")
    path = write(
        tmp_path,
        encoder.header_buffer(size=2048),
        encoder.buffer(
            encoder.event(T + 1, b"event", event_id=7, wide=False),
            encoder.event(T + 2, b"event64", opcode=3),
            encoder.system(T + 3, 0x0A20, b"system", header_type=1),
            encoder.system(T + 4, 0x0A20, b"system64"),
            encoder.system(T + 5, 0x0524, b"compact", header_type=3),
            encoder.system(T + 6, 0x0524, b"compact64", header_type=4),
            encoder.perf(T + 7, 0x0F2E, b"perf", header_type=16),
            encoder.perf(T + 8, 0x0F2E, b"perf64"),
            encoder.perf(T + 9, 0x0F2E, b"8bytes..counted", version=2 | 0x0100),
            encoder.classic(T + 10, guid, 5, b"classic", header_type=10),
            encoder.classic(T + 11, guid, 5, b"classic64"),
            encoder.instance(T + 12, guid, 5, b"instance"),
            encoder.message(T + 13, 42, b"wpp", guid=guid),
            encoder.message(None, 43, b"untimed"),
            encoder.timed(T + 15, b"timed"),
            encoder.failed(b"failed"),
            encoder.wnode(T + 16, b"wnode"),
            size=2048,
        ),
    )
    with TraceLog(path) as log:
        found = list(log)[1:]
        assert log.account.reasons() == []
    # The error record has no time and stands, by the time before it, where it was written.
    assert [one.time - T for one in found] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 13, 15, 15, 16]
    assert [one.payload for one in found] == [
        b"event", b"event64", b"system", b"system64", b"compact", b"compact64", b"perf", b"perf64", b"counted",
        b"classic", b"classic64", b"instance", b"wpp", b"untimed", b"timed", b"failed", b"wnode",
    ]  # fmt: skip
    event, system, perf, one_of, many_of = found[0], found[2], found[6], found[11], found[12]
    assert isinstance(event, headers.EventRecord)
    assert (event.id, event.pointer_size, event.thread, event.process, event.level) == (7, 4, 11, 22, 4)
    assert isinstance(system, headers.SystemRecord)
    assert (system.group, system.opcode, system.hook, system.pointer_size) == (0x0A, 0x20, 0x0A20, 4)
    assert isinstance(perf, headers.PerfRecord)
    assert isinstance(one_of, headers.InstanceRecord)
    assert (one_of.instance, one_of.parent_instance, one_of.provider) == (5, 6, guid.bytes_le)
    assert isinstance(many_of, headers.MessageRecord)
    assert (many_of.number, many_of.sequence, many_of.thread, many_of.provider) == (42, 77, 4, guid.bytes_le)
    assert [getattr(one, "timed", True) for one in found[12:]] == [True, False, True, False, True]
    assert Counter(one.kind for one in found) == {
        "event": 2, "system": 2, "compact": 2, "perf": 3, "classic": 2, "instance": 1, "message": 2, "other": 3,
    }  # fmt: skip


def test_extended_items_stand_between_header_and_payload(tmp_path: Path) -> None:
    """Their own lengths and the padding to eight bytes are kept apart."""
    items = [(1, bytes(16)), (9, b"odd"), (13, b"12345678")]
    path = write(
        tmp_path, encoder.header_buffer(), encoder.buffer(encoder.event(T + 1, b"payload", items=items))
    )
    with TraceLog(path) as log:
        _header, event = log
        assert isinstance(event, headers.EventRecord)
        assert [(one.type, one.data) for one in event.extended] == items
        assert (event.item(9), event.item(2), event.payload) == (b"odd", None, b"payload")


def test_the_session_is_described(tmp_path: Path) -> None:
    """Name, mode, processors, losses and clock come from the first record, at both pointer sizes."""
    for pointer in (4, 8):
        path = write(
            tmp_path, encoder.header_buffer(pointer=pointer, mode=0x102, name="run 7"), encoder.buffer()
        )
        with TraceLog(path) as log:
            assert (log.session.name, log.session.file_name) == ("run 7", "C:\\lab\\lab.etl")
            assert (log.session.pointer_size, log.session.processors) == (pointer, 4)
            assert log.session.modes == ["circular", "real time"]
            assert log.session.clock == LogClock(
                kind="qpc", hz=encoder.HZ, start=T, start_filetime=encoder.START_FILETIME
            )


def test_a_private_loggers_classic_header_describes_its_session_too(tmp_path: Path) -> None:
    """A user-mode logger writes the same payload behind an EVENT_TRACE_HEADER."""
    event_trace = uuid.UUID("68fdd900-4a3e-11d1-84f4-0000f80464e3")
    body = encoder.log_header(name="private")
    path = write(tmp_path, encoder.buffer(encoder.classic(T, event_trace, 0, body), sequence=0, kind=4))
    with TraceLog(path) as log:
        assert log.session.name == "private"


@pytest.mark.parametrize(
    ("clock", "start", "kind", "hz"),
    [
        (1, T, "qpc", 10_000_000),
        (2, encoder.START_FILETIME, "system time", 10_000_000),
        (3, T, "cpu cycles", 2_400_000_000),
    ],
)
def test_each_clock_is_converted_in_whole_numbers(
    tmp_path: Path, clock: int, start: int, kind: str, hz: int
) -> None:
    """A second after the start is a second after the start, in nanoseconds and on the wall, and back."""
    path = write(
        tmp_path, encoder.header_buffer(time=start, clock=clock), encoder.buffer(encoder.event(start + hz))
    )
    with TraceLog(path) as log:
        clocked = log.session.clock
        _header, event = log
    assert (clocked.kind, clocked.hz) == (kind, hz)
    assert clocked.nanoseconds(event.time) == 1_000_000_000
    assert clocked.filetime(event.time) == encoder.START_FILETIME + 10_000_000
    assert clocked.ticks(1_000_000_000) == event.time


def test_filetimes_are_shown_to_their_last_digit() -> None:
    """Seven decimals, and numbers no calendar reaches stay numbers."""
    assert iso(132754127757990001) == "2021-09-06T14:39:35.7990001Z"
    assert iso(1 << 63) == "FILETIME 9223372036854775808"


def test_losses_that_the_session_counted_are_reasons(tmp_path: Path) -> None:
    """Header counters, flags on buffers and gaps in the buffers' numbers each say why absence proves nothing."""
    path = write(
        tmp_path,
        encoder.header_buffer(events_lost=3, buffers_lost=1),
        encoder.buffer(encoder.event(T + 1), sequence=4, flags=0x22),
        encoder.buffer(encoder.event(T + 2), sequence=7),
    )
    with TraceLog(path) as log:
        assert len(payloads(log)) == 2
        assert log.account.reasons() == [
            "the session lost 3 events",
            "the session lost 1 buffers",
            "1 buffers are marked as following a loss",
            "2 buffers are not in the file, by their sequence numbers",
            "the first buffer in the file is number 4: older ones were overwritten",
        ]


def test_a_circular_log_is_read_from_its_oldest_buffer(tmp_path: Path) -> None:
    """The file has wrapped: buffers 4 and 5 stand before buffer 3, and the reader says what was overwritten."""
    path = write(
        tmp_path,
        encoder.header_buffer(mode=2),
        encoder.buffer(encoder.event(T + 40, b"4"), sequence=4),
        encoder.buffer(encoder.event(T + 50, b"5"), sequence=5),
        encoder.buffer(encoder.event(T + 30, b"3"), sequence=3),
    )
    with TraceLog(path) as log:
        assert payloads(log) == [b"3", b"4", b"5"]
        assert log.account.first_sequence == 3
        assert log.account.absent == 0


def test_a_real_time_backup_file_is_read(tmp_path: Path) -> None:
    """Its buffers carry the backup flag and its header the real-time mode; a corrupt backup counts as a loss."""
    path = write(
        tmp_path,
        encoder.header_buffer(mode=0x100),
        encoder.buffer(encoder.event(T + 1, b"kept"), flags=0x30),
        encoder.buffer(encoder.event(T + 2, b"too"), flags=0x38, sequence=2),
    )
    with TraceLog(path) as log:
        assert payloads(log) == [b"kept", b"too"]
        assert log.account.loss_flags == 1


def test_processor_numbers_before_windows_8_take_one_byte(tmp_path: Path) -> None:
    """Without the flag for wide numbers the second byte is the alignment."""
    path = write(
        tmp_path, encoder.header_buffer(), encoder.buffer(encoder.event(T + 1), processor=0x0803, flags=0)
    )
    with TraceLog(path) as log:
        _first, second = log.buffers()
        assert second.processor == 3
        assert [one.processor for one in log] == [0, 3]


@pytest.mark.parametrize(
    ("written", "version", "mode", "first", "reasons"),
    [
        (3, (10, 0), 1, 2, []),
        (4, (6, 1), 1, 2, []),
        (4, (6, 1), 2, 2, ["the first buffer in the file is number 2: older ones were overwritten"]),
        (4, (10, 0), 1, 2, ["the first buffer in the file is number 2: older ones were overwritten"]),
        (4, (6, 0), 1, 3, ["the first buffer in the file is number 3: older ones were overwritten"]),
    ],
)
def test_numbers_that_were_never_written_are_no_loss(
    tmp_path: Path, written: int, version: tuple[int, int], mode: int, first: int, reasons: list[str]
) -> None:
    """As many buffers as the session wrote are all of them; sequential logs of Windows 6.x may begin with number 2."""
    path = write(
        tmp_path,
        encoder.header_buffer(written=written, version=version, mode=mode),
        encoder.buffer(encoder.event(T + 1), sequence=first),
        encoder.buffer(encoder.event(T + 2), sequence=first + 1),
    )
    with TraceLog(path) as log:
        assert len(payloads(log)) == 2
        assert log.account.reasons() == reasons


def test_a_missing_buffer_within_a_whole_count_is_no_loss_and_one_short_is(tmp_path: Path) -> None:
    """Two numbers are absent between the first and the last; only BuffersWritten tells whether they were written."""
    for written, absent in ((3, 0), (5, 2)):
        path = write(
            tmp_path,
            encoder.header_buffer(written=written),
            encoder.buffer(encoder.event(T + 1), sequence=1),
            encoder.buffer(encoder.event(T + 2), sequence=4),
        )
        with TraceLog(path) as log:
            assert (log.account.absent, not log.account.reasons()) == (absent, not absent)


def test_records_behind_the_saved_offset_of_the_header_buffer_are_read(tmp_path: Path) -> None:
    """The session put two records there after it saved the first; Offset says where they end."""
    first = encoder.system(T, 0, encoder.log_header())
    later = encoder.perf(T, 0x0042, b"lab build\0") + encoder.perf(T, 0x0040, b"identity")
    header = encoder.buffer(first, later, sequence=0, kind=4, saved=72 + len(first))
    with TraceLog(write(tmp_path, header, encoder.buffer(encoder.event(T + 1, b"event")))) as log:
        assert payloads(log) == [b"lab build\0", b"identity", b"event"]
        assert log.account.reasons() == []


def test_offsets_that_disagree_in_another_buffer_are_a_reason(tmp_path: Path) -> None:
    """Records are read to SavedOffset, and the account says that Offset names another end."""
    one, two = encoder.event(T + 1, b"one"), encoder.event(T + 2, b"two")
    path = write(tmp_path, encoder.header_buffer(), encoder.buffer(one, two, saved=72 + len(one)))
    with TraceLog(path) as log:
        assert payloads(log) == [b"one"]
        assert log.account.reasons() == [
            "in 1 buffers SavedOffset and Offset disagree on where the records end"
        ]


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    """Empty files, text, zip archives, directories and missing files are usage errors."""
    for content in (b"", b"PK\3\4" + bytes(200), b"text\n" * 100, b"\x00\x04"):
        path = tmp_path / "wrong.etl"
        path.write_bytes(content)
        with pytest.raises(UsageError):
            TraceLog(path)
    with pytest.raises(UsageError, match="No such file"):
        TraceLog(tmp_path / "none.etl")
    os.mkfifo(tmp_path / "pipe.etl")
    with pytest.raises(UsageError, match="not a regular file"):
        TraceLog(tmp_path / "pipe.etl")
    with pytest.raises(UsageError, match="this is a directory"):
        TraceLog(tmp_path)


def test_text_that_reads_like_a_buffer_header_is_refused(tmp_path: Path) -> None:
    """In UTF-16 the first lines of a list of users make sizes, offsets and flags that could be a compressed buffer's."""
    path = tmp_path / "text.etl"
    path.write_bytes(
        "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/sbin\n".encode("utf-16")
    )
    with pytest.raises(UsageError, match="not an event trace log: byte 0: "):
        TraceLog(path)


def test_a_truncated_last_buffer_gives_its_whole_records(tmp_path: Path) -> None:
    """The copy stopped in the middle of a record: the ones before it count, and the account says so."""
    whole = encoder.buffer(encoder.event(T + 1, b"whole"), encoder.event(T + 2, b"cut"))
    path = write(tmp_path, encoder.header_buffer(), whole[: 72 + 88 + 40])
    with TraceLog(path) as log:
        assert payloads(log) == [b"whole"]
        assert log.account.truncated
        assert log.account.damaged == 1


def test_an_unclosed_log_is_read_and_says_so(tmp_path: Path) -> None:
    """The machine stopped before the session: no end time, and the preallocated rest is zeros."""
    path = write(
        tmp_path,
        encoder.header_buffer(end=0, mode=0x21),
        encoder.buffer(encoder.event(T + 1, b"x")),
        bytes(4 * 1024),
    )
    with TraceLog(path) as log:
        assert payloads(log) == [b"x"]
        assert log.account.reasons() == ["the session never closed the log"]


def test_damage_costs_one_buffer_and_is_located(tmp_path: Path) -> None:
    """Nonsense where a buffer header, a marker or a size should be: all the rest is still read."""
    good, other = encoder.event(T + 1, b"good"), encoder.event(T + 9, b"other")
    bad_size = bytearray(encoder.event(T + 2, b"x"))
    bad_size[0:2] = (12).to_bytes(2, "little")
    path = write(
        tmp_path,
        encoder.header_buffer(),
        encoder.buffer(good, bytes(bad_size), encoder.event(T + 3, b"hidden"), sequence=1),
        bytes.fromhex("0badf00d") * 256,
        encoder.buffer(encoder.event(T + 4, b"four"), b"\x01\x00\x05\xc0" + bytes(20), sequence=2),
        encoder.buffer(other, used=4000, sequence=3),
    )
    with TraceLog(path) as log:
        assert payloads(log) == [b"good", b"four"]
        assert [(one.offset, one.reason) for one in log.account.damages] == [
            (2048, "ETW does not use a buffer size of 233876747 bytes"),
            (4096, "no offset of the buffer (4000, 4000, 4000) lies within its 1024 bytes"),
            (1024 + 72, "a record of 12 bytes is shorter than its header of 80"),
            (3072 + 72, "no record begins with 0xc0050001"),
        ]
        assert list(log) == list(log)
        assert log.account.damaged == 4


def test_a_log_without_its_first_record_is_headless(tmp_path: Path) -> None:
    """A real-time consumer's dump has no header: records come, conversions do not."""
    path = write(tmp_path, encoder.buffer(encoder.event(T + 1, b"x")))
    with TraceLog(path) as log:
        assert [one.payload for one in log] == [b"x"]
        assert log.session.clock.nanoseconds(T) is None
        assert log.account.reasons()[0].startswith("the log does not describe its session")


def test_since_and_until_cut_by_ticks(tmp_path: Path) -> None:
    """The first bound is inclusive, the second is not; the account still counts everything."""
    path = write(
        tmp_path,
        encoder.header_buffer(),
        encoder.buffer(*(encoder.event(T + time, bytes([time])) for time in range(1, 7))),
    )
    with TraceLog(path) as log:
        assert [one.payload for one in log.records(since=T + 2, until=T + 5)] == [b"\2", b"\3", b"\4"]
        assert log.account.records == 7


def test_open_buffers_are_bounded_even_if_all_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hostile stamps would keep every buffer open: past the limit records go out and are counted as late."""
    monkeypatch.setattr(tracelog, "OPEN_LIMIT", 200_000)
    path = write(
        tmp_path,
        encoder.header_buffer(),
        *(
            encoder.buffer(encoder.event(T + number), encoder.event(T + 10_000 + number), sequence=number + 1)
            for number in range(50)
        ),
    )
    with TraceLog(path) as log:
        assert sum(1 for _ in log) == 101
        assert log.account.late > 0
