# SPDX-License-Identifier: MIT
"""Channels read after a run: every record finds a place that contradicts nothing that is known."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest
from capture.lines import encode_line
from capture.windows_run import BEGIN, MS, counter, driver_records, timed
from contract.state.test_merge import merge
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.capture.dbgprint import entry
from harness.capture.dbgprint.entry import PortEntry
from harness.capture.dbgprint.host import Began
from harness.capture.dbgprint.message import Stop
from harness.capture.offline import recorded
from harness.capture.offline.alignment import align
from harness.capture.offline.recorded import RecordedChannel, TimedRecord, read
from harness.capture.offline.ring import Ring
from harness.errors import UsageError
from harness.history.driver import DriverRecord
from harness.history.reader import History
from harness.history.record import Boot, Channel, End, Header, Offset, Quiesced, Record, Stage
from harness.history.writer import HistoryWriter

TEXTS = [
    "mark S2 C2 V mark Q S3 C3 V mark unload",
    "a:S2 b:S2 mark b:C2 a:C2 V b:mark",
    "mark C2 S3! F3 mark",
    "mark",
]


def channel(name: str, records: list[DriverRecord], *, arrival: bool = False) -> RecordedChannel:
    """A channel of these records, with times of arrival or without."""
    arrived = [
        TimedRecord(msgspec.structs.replace(one, channel=name), one.host_ns + 1 if arrival else 0)
        for one in records
    ]
    account = Channel(name=name, records=len(records), closed=True)
    return RecordedChannel(file=Path(name), arrived=arrived, account=account)


def host_only(records: list[Record]) -> list[Record]:
    """What the host wrote itself."""
    return [one for one in records if not isinstance(one, DriverRecord | Channel)]


@settings(max_examples=examples(20))
@given(data=st.data(), text=st.sampled_from(TEXTS), slack=st.integers(0, 400 * MS))
def test_a_place_contradicts_nothing(data: st.DataObject, text: str, slack: int) -> None:
    """However wide the brackets and whatever was lost: nothing stands before a host record that it came after, the
    driver's order is kept, nothing is lost or made up, and no silence is believed that a record may have broken."""
    records = timed(text)
    true = {(one.driver, one.seq): one.host_ns for one in driver_records(records)}
    host = [
        msgspec.structs.replace(one, low_ns=one.low_ns - slack, high_ns=one.high_ns + slack)
        if isinstance(one, Offset)
        else one
        for one in host_only(records)
    ]
    channels = []
    for name, arrival in (("etw", False), ("dbgprint", True), ("ring", False)):
        keep = data.draw(st.lists(st.booleans(), min_size=len(true), max_size=len(true)), label=name)
        kept = [one for one, kept in zip(driver_records(records), keep, strict=True) if kept]
        channels.append(channel(name, data.draw(st.permutations(kept)), arrival=arrival))
    aligned = align(host, channels)
    out = aligned.records
    assert [one.n for one in out] == list(range(1, len(out) + 1))
    left_out = {one.nonce for one in aligned.unproven}
    # A record that stands before one of the host's is not later: a contradiction would make what it touches unknown.
    latest = itertools.accumulate((one.host_ns for one in out), max)
    assert [] == [
        one
        for one, time in zip(out, latest, strict=True)
        if not isinstance(one, DriverRecord) and one.host_ns < time
    ]
    kept_host = [one for one in host_only(out) if one.__struct_config__.tag != "stage"]
    assert [one.host_ns for one in kept_host] == [
        one.host_ns for one in host if not (isinstance(one, Quiesced) and one.nonce in left_out)
    ]
    expected = sorted((c.account.name, a.record.driver, a.record.seq) for c in channels for a in c.arrived)  # type: ignore[attr-defined]
    assert expected == sorted((one.channel, one.driver, one.seq) for one in driver_records(out))
    last: dict[str, int] = {}
    seen: list[int] = []
    for one in out:
        if isinstance(one, DriverRecord):
            assert last.get(one.driver, 0) <= one.seq
            last[one.driver] = one.seq
            seen.append(true[one.driver, one.seq])
        elif isinstance(one, Quiesced):
            after = [
                true[later.driver, later.seq] for later in out[one.n :] if isinstance(later, DriverRecord)
            ]
            assert all(moment > one.host_ns - one.quiet_ns for moment in after)
        elif one.host_ns and not isinstance(one, Channel | End) and one.__struct_config__.tag != "stage":
            assert all(moment <= one.host_ns for moment in seen)


def test_records_stay_in_their_boot() -> None:
    """However late a record may have come, it stands before the boot that ended its own, and the next boot's behind it."""
    first, second = "1" * 16, "2" * 16
    marks = [one for one in driver_records(timed("mark mark")) if one.__struct_config__.tag == "mark"]

    def at(boot: str, seq: int, ms: int) -> DriverRecord:
        return msgspec.structs.replace(
            marks[0], boot=boot, seq=seq, qpc=counter(BEGIN + ms * MS), host_ns=BEGIN + ms * MS
        )

    def bracket(boot: str, ms: int, *, wide: int) -> Offset:
        now = BEGIN + ms * MS
        return Offset(
            domain=f"qpc/{boot}", hz=10_000_000, qpc=counter(now), low_ns=now - wide * MS, high_ns=now + wide * MS,
            host_ns=now + MS,
        )  # fmt: skip

    host: list[Record] = [
        Header(format=1, harness="0", run="r", guest="g", wall="w", host_ns=BEGIN),
        Boot(epoch=1, cause="power-on", host_ns=BEGIN),
        bracket(first, 100, wide=900),
        Boot(epoch=2, cause="host-reset", host_ns=BEGIN + 500 * MS),
        bracket(second, 900, wide=800),
        End(outcome="completed", host_ns=BEGIN + 1000 * MS),
    ]
    records = [at(first, 1, 50), at(first, 2, 400), at(second, 1, 600), at(second, 2, 950)]
    aligned = align(host, [channel("etw", records)])
    words = [
        one.boot[0] if isinstance(one, DriverRecord) else one.__struct_config__.tag for one in aligned.records
    ]
    assert words[:-1] == [
        "header", "boot", "offset", "1", "1", "boot", "offset", "2", "2", "stage", "channel",
    ]  # fmt: skip
    assert words[-1] == "end"


def test_a_crash_that_the_debugger_saw_stands_at_its_time(tmp_path: Path) -> None:
    """What the debugger's port told besides the driver's lines has its own time and comes with them."""
    file = tmp_path / "dbgprint.jsonl"
    stop = Stop(processor=1, processors=2, code=0x80000003, address=4096, first_chance=True, bug_check="0x3e")
    entries = [PortEntry(BEGIN + 5 * MS, Began()), PortEntry(BEGIN + 50 * MS, stop)]
    file.write_bytes(b"".join(entry.encode(one) + b"\n" for one in entries))
    host = host_only(timed("mark"))
    out = align(host, [read("dbgprint", file)]).records
    tags = [one.__struct_config__.tag for one in out]
    assert ("guest" in tags, "console" in tags) == (True, True)
    crash = next(one for one in out if one.__struct_config__.tag == "console")
    assert all(one.host_ns <= crash.host_ns for one in out[: crash.n - 1])
    account = next(one for one in out if isinstance(one, Channel))
    assert not account.closed


@settings(max_examples=examples(35))
@given(
    pieces=st.lists(
        st.binary(max_size=60) | st.sampled_from([b"{", b'{"k":"mark"}\n', b"\n", b"[" * 5000]), max_size=12
    )
)
def test_any_bytes_in_the_ring(pieces: list[bytes]) -> None:
    """No bytes make the ring's reader fail or hold more than one line."""
    port = Ring()
    for piece in pieces:
        assert list(port.feed(piece)) == []
        assert len(port._rest) < 4096
    port.finish()


def test_the_ring_prints_lines_or_objects() -> None:
    """With --json and without, hpnctl's output gives the same records."""
    records = driver_records(timed("mark S2 C2 V mark"))
    objects = b"".join(
        msgspec.json.encode({"channel": "ring"} | {k: v for k, v in msgspec.to_builtins(one).items() if k not in ("n", "host_ns", "channel")})
        + b"\n"
        for one in records
    )  # fmt: skip
    expected = [msgspec.structs.replace(one, n=0, host_ns=0, channel="ring") for one in records]
    assert expected == list(Ring().feed(objects))
    assert expected == list(Ring().feed(b"".join(encode_line(one) for one in records)))


def test_what_a_guest_may_not_choose() -> None:
    """A driver name that is a path, a boot nonce that is none, or a number of more than 64 bits is no record."""
    (mark, *_rest) = driver_records(timed("mark"))
    port = Ring()
    for bad in ({"driver": "../etc"}, {"boot": "x"}):
        assert list(port.feed(msgspec.json.encode(msgspec.structs.replace(mark, **bad)) + b"\n")) == []
    line = msgspec.json.encode(mark)
    for number in (b"-2", b"18446744073709551616", b"1" * 400):
        assert list(port.feed(line.replace(b'"cpu":0', b'"cpu":' + number) + b"\n")) == []
    assert list(port.feed(line + b"\n")) != []
    assert port.account().corrupt == 5


@pytest.mark.parametrize("qpc", [0, 1 << 63, (1 << 64) - 1])
def test_counters_that_a_guest_may_choose(qpc: int, tmp_path: Path) -> None:
    """A counter that can never have been read finds a place, and the history can be written and read back."""
    records = timed("mark S2 C2 V mark")
    liar = [msgspec.structs.replace(one, qpc=qpc) for one in driver_records(records)]
    out = align(host_only(records), [channel("ring", liar, arrival=True), channel("etw", liar)]).records
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        for one in out:
            writer.write(one, host_ns=one.host_ns)
    history = History(tmp_path)
    assert (list(history), history.damage) == (out, "")


def test_too_many_records_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file cannot make the import take more memory than it may."""
    records = driver_records(timed("mark S2 C2"))
    file = tmp_path / "debugcon.log"
    file.write_bytes(b"".join(encode_line(one) for one in records))
    monkeypatch.setattr(recorded, "MOST_RECORDS", len(records))
    assert len(read("debugcon", file).arrived) == len(records)
    monkeypatch.setattr(recorded, "MOST_RECORDS", len(records) - 1)
    with pytest.raises(UsageError, match="holds more than"):
        read("debugcon", file)


def test_a_record_that_arrived_late_stays_and_holds_nobody_up() -> None:
    """What a live channel brought late stays where it arrived; the log's copies stand in the driver's order all the same,
    and what the log lost stands before its successor."""
    records = timed("mark S2 C2 V mark")
    numbers = [one.seq for one in driver_records(records)]
    late_number, lost = numbers[5], numbers[8]
    live = [
        msgspec.structs.replace(one, host_ns=one.host_ns + 100 * MS)
        for one in driver_records(records)
        if one.seq in (late_number, lost)
    ]
    host = sorted([*live, *host_only(records)], key=lambda one: one.host_ns)
    kept = [one for one in driver_records(records) if one.seq != lost]
    out = align(host, [channel("etw", kept)]).records
    assert [one for one in numbers if one != lost] == [
        one.seq for one in driver_records(out) if one.channel == "etw"
    ]
    others = [
        one
        for one in out
        if not isinstance(one, Stage | Channel)
        and not (isinstance(one, DriverRecord) and one.channel == "etw")
    ]
    assert [host_or_live(one) for one in host] == [host_or_live(one) for one in others]
    merged = [one.seq for one in merge(out) if isinstance(one, DriverRecord)]
    assert merged == numbers


def host_or_live(record: Record) -> tuple[object, int]:
    """What is left of a record when it is numbered anew."""
    return record.__struct_config__.tag, record.host_ns
