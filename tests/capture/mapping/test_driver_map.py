# SPDX-License-Identifier: MIT
"""Driver maps: what they may say, events that become records by them, and rules that ask for what is not given."""

from __future__ import annotations

import re
import struct
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.capture.live.event_lines import LONGEST_LINE, MOST_BOOTS, EventLines
from harness.capture.mapping import driver_map
from harness.capture.mapping.driver_map import DriverMap
from harness.capture.mapping.mapper import Mapper, TraceEvent
from harness.capture.offline.recorded import read
from harness.cli.main import main
from harness.contract.checker import judge, judge_history
from harness.contract.verdict import Verdict
from harness.errors import BadDocument
from harness.history.absent import Absent, AbsentFields, NotGiven
from harness.history.driver import CallExit, DriverRecord, Hello, SyncEnter, SyncExit
from harness.history.reader import History
from harness.history.record import FORMAT, Boot, Clock, End, Header, Mapped, Record
from harness.history.writer import HistoryWriter
from harness.report.timeline import timeline
from tests.capture.etl import encoder

TINY = Path(__file__).resolve().parents[3] / "guest_drivers" / "tiny"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "your-driver.md"
GUID = "b7d5c1e0-4a2f-4c6b-9d38-51e07f2a6c94"

SYNC = """driver = "mine"
provider = "{b7d5c1e0-4a2f-4c6b-9d38-51e07f2a6c94}"

[[event]]
id = 5
record = "sync.enter"
payload = { What = "uint32", Number = "uint32" }
fields = { state = "What", nt = "Number" }
values = { group = 0, number = 0, status = 0, op = 0 }
"""


@pytest.fixture(scope="module")
def tiny() -> DriverMap:
    """The map of the example driver."""
    return driver_map.load(TINY / "harness.toml")


def _change(number: int, state: int) -> bytes:
    return struct.pack("<IIHBII", state, number, 0, number, 0, 0)


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


def _life() -> list[tuple[int, int, bytes]]:
    """What tiny writes when it is loaded on one processor and a second one is added: thread, event, payload."""
    events = [(7, 1, b""), (7, 3, _u32(1))]
    for state in (0, 1):
        events += [(7, 5, _change(0, state)), (7, 6, _u32(0))]
    events += [(7, 4, _u32(0) + b"\x01"), (7, 2, _u32(0))]
    for state in (0, 1):
        events += [(9, 5, _change(1, state)), (9, 6, _u32(0))]
    return events


def _line(
    number: int, thread: int, event: int, data: bytes, provider: str = GUID, boot: str = "00c0ffee00c0ffee"
) -> bytes:
    text = (
        f"EVT1 n={number} boot={boot} provider={uuid.UUID(provider).bytes_le.hex()} id={event} version=0 "
        f"time={1000 * number} cpu=0 thread={thread} data={data.hex()}"
    ).encode()
    return b"%s crc=%08x\n" % (text, zlib.crc32(text))


@pytest.mark.parametrize(
    ("old", "new", "said", "hint"),
    [
        ('"sync.enter"', '"sync.entre"', "map.toml:7: no record is called 'sync.entre'", "Did you mean 'sync.enter'?"),
        ("id = 5", 'id = 5\nname = "Five"', "map.toml:5: an event is named by its id, or by its name", ""),
        ('state = "What"', 'stat = "What"', "map.toml:9: sync.enter has no field 'stat'", "Did you mean 'state'?"),
        ('nt = "Number"', 'nt = "Numer"', "map.toml:9: the event has no field 'Numer'", "Did you mean 'Number'?"),
        ('"uint32" }', '"uint23" }', "map.toml:8: no type is called 'uint23'", "Did you mean 'uint32'?"),
        ("status = 0, op = 0", "op = 0", "map.toml:7: sync.enter needs status", "`values`"),
        ("group = 0", "group = 'a'", "map.toml:10: 'group' is a number, not 'a'", ""),
        ("group = 0", "nt = 0, group = 0", "map.toml:10: 'nt' is mapped twice", ""),
        ("b7d5", "x7d5", "map.toml:3: ", ""),
        ("provider =", "guid =", "map.toml:3: unknown key 'guid'", ""),
        ("payload =", "# payload =", "map.toml:5: nothing describes the payload of event 5", "payload = {"),
    ],
)  # fmt: skip
def test_map_that_cannot_be_is_refused(old: str, new: str, said: str, hint: str) -> None:
    """With file and line, and what was probably meant."""
    text = "# a comment, so that lines are counted\n" + SYNC
    assert 1 <= text.count(old)
    with pytest.raises(BadDocument) as refused:
        driver_map.decode(text.replace(old, new, 1), name="map.toml", folder=Path())
    assert (said, hint) == (refused.value.message[: len(said)], hint if hint in refused.value.hint else None)


def test_example_of_the_page_is_the_drivers_own(tiny: DriverMap) -> None:
    """What the page shows of the map stands in the map."""
    block = PAGE.read_text().split("```toml\n")[1].split("```")[0]
    shown = driver_map.decode(block, name="page", folder=TINY)
    assert [event for event in tiny.events if event.id in (5, 6)] == shown.events
    assert (tiny.driver, tiny.provider) == (shown.driver, shown.provider)


def _records(source: EventLines, data: bytes) -> list[Record]:
    found = list(source.feed(data))
    source.finish()
    return found


def test_lines_become_records(tiny: DriverMap) -> None:
    """Hello first, exits end what their thread entered, and the clock, the thread and the processor are the event's."""
    lines = EventLines(tiny)
    found = _records(lines, b"".join(_line(n, *event) for n, event in enumerate(_life(), 1)))
    mapped, hello, *rest = found
    assert isinstance(mapped, Mapped)
    assert ("tiny", GUID, True) == (mapped.driver, mapped.provider, "active" in mapped.absent["sync.enter"])
    assert isinstance(hello, Hello)
    assert (1, 10_000_000) == (hello.seq, hello.hz)
    assert list(range(2, 2 + len(_life()))) == [
        record.seq for record in rest if isinstance(record, DriverRecord)
    ]
    exits = [record for record in rest if isinstance(record, SyncExit)]
    enters = [record for record in rest if isinstance(record, SyncEnter)]
    assert [record.seq for record in enters] == [record.enter for record in exits]
    assert [(record.nt, record.state) for record in enters] == [(record.nt, record.state) for record in exits]
    assert (9, 1, "etw") == (enters[-1].thread, enters[-1].reg, enters[-1].channel)
    assert [1] == [
        record.handle for record in rest if isinstance(record, CallExit) and record.call == "reg_sync"
    ]
    assert (1 + len(rest), 0, 0, True) == (
        lines.account().records, lines.account().corrupt, lines.account().lost, lines.account(closed=True).closed,
    )  # fmt: skip


def test_lost_line_is_a_gap(tiny: DriverMap) -> None:
    """A number that is missing between two lines is missing between the driver's records, and so are exits that miss their enter."""
    all_lines = [_line(n, *event) for n, event in enumerate(_life(), 1)]
    lines = EventLines(tiny)
    found = _records(lines, b"".join(all_lines[:4] + all_lines[5:]))
    # Event 5 is lost, 6 ends it, and 7 and 8 end what was entered before: whether 5 was their enter, nobody knows.
    assert (4, 3) == (lines.account().lost, lines.account().corrupt)
    numbers = [record.seq for record in found if isinstance(record, DriverRecord)]
    assert {6, 7, 8, 9} == set(range(1, max(numbers) + 1)) - set(numbers)


def test_exit_does_not_end_the_wrong_enter(tiny: DriverMap) -> None:
    """The exit of a registration whose enter is lost does not end DriverEntry, which was entered before."""
    all_lines = [_line(n, *event) for n, event in enumerate(_life(), 1)]
    found = _records(EventLines(tiny), b"".join(all_lines[:1] + all_lines[2:]))
    assert [] == [record for record in found if isinstance(record, CallExit)]


def test_first_line_that_is_lost_is_a_gap(tiny: DriverMap) -> None:
    """A boot's events are numbered from 1: what is missing before the first that came is missing after the hello."""
    all_lines = [_line(n, *event) for n, event in enumerate(_life(), 1)]
    lines = EventLines(tiny)
    found = _records(lines, b"".join(all_lines[8:]))
    assert 8 == lines.account().lost
    assert [Mapped, Hello] == [type(record) for record in found[:2]]
    numbers = [record.seq for record in found if isinstance(record, DriverRecord)]
    assert [1, *range(10, 2 + len(all_lines))] == numbers


def test_restored_guest_goes_on_counting(tiny: DriverMap) -> None:
    """The first boot of a guest that was restored from a snapshot may begin with any number, a later boot not."""
    first = [_line(n, *event) for n, event in enumerate(_life(), 40)]
    later = [_line(3, *_life()[0], boot="1" * 16)]
    lines = EventLines(tiny, resumed=True)
    found = _records(lines, b"".join(first))
    assert (0, len(first) + 1) == (lines.account().lost, lines.account().records)
    assert list(range(1, len(first) + 2)) == [
        record.seq for record in found if isinstance(record, DriverRecord)
    ]
    _records(lines, b"".join(later))
    assert 2 == lines.account().lost


@pytest.mark.parametrize("again", [1, 4])
def test_line_whose_number_was_past_is_counted(tiny: DriverMap, again: int) -> None:
    """A line that comes a second time is left out and counted as stale."""
    all_lines = [_line(n, *event) for n, event in enumerate(_life(), 1)]
    plain, lines = EventLines(tiny), EventLines(tiny)
    expected = _records(plain, b"".join(all_lines))
    found = _records(lines, b"".join([*all_lines[:5], all_lines[again - 1], *all_lines[5:]]))
    assert (expected, 1, len(expected) - 1) == (found, lines.account().stale, lines.account().records)


def test_each_boot_counts_from_one(tiny: DriverMap) -> None:
    """After a reset the numbers begin again; a line of the boot before is handed on and counted as stale."""
    first = [_line(n, *event) for n, event in enumerate(_life(), 1)]
    second = [_line(n, *event, boot="1" * 16) for n, event in enumerate(_life()[:5], 1)]
    lines = EventLines(tiny)
    found = _records(lines, b"".join([*first[:-1], *second[:3], second[4], first[-1]]))
    account = lines.account()
    assert (1, 1, len(found) - 2) == (account.lost, account.stale, account.records)


def test_loss_before_an_event_of_another_provider_is_not_forgotten(tiny: DriverMap) -> None:
    """What was missing before another provider's event is missing before the driver's next record."""
    before = [_line(n, *event) for n, event in enumerate(_life()[:8], 1)]
    another = _line(10, 7, 1, b"", provider="00000000-0000-0000-0000-000000000001")
    after = [_line(n, *event) for n, event in enumerate(_life()[8:], 11)]
    lines = EventLines(tiny)
    found = _records(lines, b"".join([*before, another, *after]))
    numbers = [record.seq for record in found if isinstance(record, DriverRecord)]
    assert {10} == set(range(1, max(numbers) + 1)) - set(numbers)
    assert (1, 1) == (lines.account().lost, lines.account().foreign)


def test_event_that_cannot_be_mapped_is_a_gap(tiny: DriverMap) -> None:
    """A record that is missing because its event has no payload is missing from the driver's numbers."""
    all_lines = [_line(n, *event) for n, event in enumerate(_life(), 1)]
    all_lines[-3] = _line(len(all_lines) - 2, 9, 6, b"")
    lines = EventLines(tiny)
    found = _records(lines, b"".join(all_lines))
    numbers = [record.seq for record in found if isinstance(record, DriverRecord)]
    account = lines.account()
    assert (1, 1) == (account.corrupt, account.lost)
    assert {len(all_lines) - 1} == set(range(1, max(numbers) + 1)) - set(numbers)


def test_boots_over_the_bound_are_counted(tiny: DriverMap) -> None:
    """A line of one boot too many is left out and counted."""
    lines = EventLines(tiny)
    nonces = [f"{number:016x}" for number in range(MOST_BOOTS + 1)]
    found = _records(lines, b"".join(_line(1, 7, 1, b"", boot=nonce) for nonce in nonces))
    account = lines.account()
    assert (2 * MOST_BOOTS, 1) == (account.records, account.corrupt)
    assert account.records == sum(isinstance(record, DriverRecord) for record in found)


def test_what_is_no_event_is_counted(tiny: DriverMap) -> None:
    """A torn line, a wrong checksum, a payload that is too short, another's provider, a line without an end: each is counted."""
    good = _line(1, 7, 1, b"")
    lines = EventLines(tiny)
    stream = good + b"hello\n" + good.replace(b"n=1", b"n=2") + _line(2, 7, 5, b"\0\0")
    stream += (
        _line(3, 7, 5, b"", provider="00000000-0000-0000-0000-000000000001")
        + b"E" * LONGEST_LINE
        + b"\nEVT1 n"
    )
    assert 3 == len(_records(lines, stream))
    account = lines.account()
    assert (2, 2, 2, 1, 1) == (
        account.records,
        account.foreign,
        account.corrupt,
        account.oversized,
        account.torn,
    )
    assert ["event 5 is not a sync.enter"] == [reason.partition(":")[0] for reason in lines.reasons()]


@pytest.mark.parametrize("field", ["n", "time", "thread"])
def test_number_that_no_history_can_hold_is_refused(tiny: DriverMap, field: str, tmp_path: Path) -> None:
    """The largest that is taken can be written down; one more is corrupt."""
    plain = _line(1, 7, 1, b"").split(b" crc=")[0].decode()
    for value, corrupt in (((1 << 63) - 1, 0), (1 << 63, 1), (10**20 - 1, 1)):
        text = re.sub(rf" {field}=\d+", f" {field}={value}", plain).encode()
        lines = EventLines(tiny)
        with HistoryWriter(tmp_path / f"{value}.jsonl") as writer:
            for record in lines.feed(b"%s crc=%08x\n" % (text, zlib.crc32(text))):
                writer.write(record)
        assert corrupt == lines.account().corrupt


@given(
    st.lists(st.one_of(st.binary(max_size=80), st.sampled_from(range(len(_life())))), max_size=12), st.data()
)
def test_any_bytes_in_any_pieces(tiny: DriverMap, parts: list[bytes | int], data: st.DataObject) -> None:
    """Whatever a guest writes, however it is cut, gives the same records, and never an error."""
    stream = b"".join(
        part if isinstance(part, bytes) else b"\n" + _line(n, *_life()[part])
        for n, part in enumerate(parts, 1)
    )
    whole, cut = EventLines(tiny), EventLines(tiny)
    expected = _records(whole, stream)
    at = data.draw(st.integers(0, len(stream)))
    assert expected == [*cut.feed(stream[:at]), *_records(cut, stream[at:])]
    assert whole.account() == cut.account()
    assert sum(isinstance(record, DriverRecord) for record in expected) == whole.account().records


@given(st.binary(max_size=64), st.integers(0, 12))
def test_any_payload(tiny: DriverMap, payload: bytes, event: int) -> None:
    """An event's payload may be anything: it is a record or it is counted."""
    mapper = Mapper(tiny, boot="0" * 16, hz=1)
    traced = TraceEvent(id=event, version=0, time=5, processor=0, thread=1, payload=payload)
    found = [record for record in mapper.records(traced) if isinstance(record, DriverRecord)]
    known = 1 <= event <= 10
    assert known == bool(found or mapper.corrupt)
    assert (len(found), not known) == (mapper.handed_on, bool(mapper.unnamed))


def test_log_of_trace_logging_events(tmp_path: Path) -> None:
    """Events that describe themselves are found by name, and their texts and GUIDs become the harness's words."""
    text = SYNC.replace("id = 5", 'name = "Change"').replace(
        'payload = { What = "uint32", Number = "uint32" }\n', ""
    )
    text += (
        '\n[[event]]\nname = "Arrived"\nrecord = "async.enter"\n'
        'fields = { event = "Event", cls = "Class", link = "Link" }\n'
    )
    mapped = driver_map.decode(text, name="map.toml", folder=tmp_path)
    arrival = uuid.UUID("cb3a4004-46f0-11d0-b08f-00609713053f").bytes_le
    memory = uuid.UUID("3fd0f03d-92e0-45fb-b75c-5ed8ffb01021").bytes_le
    events = [
        encoder.event(
            encoder.START + 1, struct.pack("<II", 0, 2), provider=uuid.UUID(GUID), event_id=0,
            items=[(11, encoder.schema("Change", encoder.described("What", 8), encoder.described("Number", 8)))],
        ),
        encoder.event(
            encoder.START + 2, arrival + memory + "\\??\\X\0".encode("utf-16-le"), provider=uuid.UUID(GUID), event_id=0,
            items=[(11, encoder.schema("Arrived", encoder.described("Event", 15), encoder.described("Class", 15),
                                       encoder.described("Link", 1)))],
        ),
    ]  # fmt: skip
    path = tmp_path / "mine.etl"
    path.write_bytes(encoder.header_buffer(size=8192) + encoder.buffer(*events, size=8192))
    recorded = read("etw", path, mapped)
    kinds = [str(type(one.record).__struct_config__.tag) for one in recorded.arrived]
    assert ["mapped", "hello", "sync.enter", "async.enter"] == kinds
    assert ([], 3) == (recorded.missing, recorded.account.records)
    arrived = recorded.arrived[-1].record
    assert ("arrival", "memory", "\\??\\X", 2) == (
        arrived.event, arrived.cls, arrived.link, arrived.reg,  # type: ignore[attr-defined]
    )  # fmt: skip


ASKING: list[Callable[[Absent], object]] = [
    lambda value: value == 0, lambda value: value != 0, lambda value: value < 1, lambda value: not value,
    lambda value: value + 1, lambda value: 1 - value, lambda value: value >> 1, lambda value: value & 1,
    lambda value: {value}, lambda value: max(value, 2), lambda value: value in (1, 2),
]  # fmt: skip


@pytest.mark.parametrize("ask", ASKING)
def test_nothing_is_made_of_an_absent_value(ask: Callable[[Absent], object]) -> None:
    """Whoever asks is told that it is not given; only showing it is allowed."""
    value = Absent("sync.enter.active")
    with pytest.raises(NotGiven, match=r"do not give sync\.enter\.active"):
        ask(value)
    assert "not given not given" == f"{value:#x} {value}"


def test_rules_that_ask_for_absent_fields_do_not_apply(tiny: DriverMap) -> None:
    """The order is judged; what is said of counts is not, and its reason names the field."""
    lines = EventLines(tiny)
    found = _records(lines, b"".join(_line(n, *event) for n, event in enumerate(_life(), 1)))
    found += [lines.account(closed=True), End(outcome="completed")]
    rules = {rule.rule: rule for rule in judge(found).rules}
    assert Verdict.HOLDS is rules["ADDEX-STARTS-THEN-COMPLETES"].verdict
    absent = rules["COUNT-MONOTONIC"]
    assert (Verdict.NOT_APPLICABLE, "not applicable, because the driver's events do not give active") == (
        absent.verdict, absent.reason,
    )  # fmt: skip
    assert [] == [rule.rule for rule in rules.values() if "rule itself failed" in rule.reason]
    assert [] == [rule.rule for rule in rules.values() if rule.verdict is Verdict.VIOLATED]


def test_own_count_of_a_driver_shows_what_is_lost() -> None:
    """If ``seq`` is mapped, a number that never came is missing; one that no history can hold is no record."""
    text = SYNC.replace("payload = { ", 'payload = { Count = "uint64", ').replace(
        "fields = { ", 'fields = { seq = "Count", '
    )
    mapper = Mapper(driver_map.decode(text, name="map.toml", folder=Path()), boot="0" * 16, hz=1)
    found: list[Record] = []
    for count in (40, 41, 43, (1 << 64) - 1):
        payload = struct.pack("<QII", count, 0, 2)
        found += mapper.records(TraceEvent(id=5, version=0, time=5, processor=0, thread=1, payload=payload))
    assert [1, 2, 3, 5] == [record.seq for record in found if isinstance(record, DriverRecord)]
    assert 1 == mapper.corrupt


def test_planted_defect_is_found_through_a_map(tiny: DriverMap) -> None:
    """With ADD_EXISTING a Start that comes after a Complete breaks the same rule as ever."""
    events = [(7, 1, b""), (7, 3, _u32(1))]
    for number, state in ((0, 0), (0, 1), (1, 0), (1, 1)):
        events += [(7, 5, _change(number, state)), (7, 6, _u32(0))]
    events += [(7, 4, _u32(0) + b"\x01"), (7, 2, _u32(0))]
    found = _records(EventLines(tiny), b"".join(_line(n, *event) for n, event in enumerate(events, 1)))
    verdict = judge(found)
    broken = {rule.rule for rule in verdict.rules if rule.verdict is Verdict.VIOLATED}
    assert {"ADDEX-STARTS-THEN-COMPLETES"} == broken
    told = [witness.text for finding in verdict.findings for witness in finding.witnesses]
    assert [] == [text for text in told if "active=" in text or "mask=" in text]
    assert [] == [line for line in timeline(found) if "IRQL" in line or "not given" in line]


def test_driver_that_changes_the_status_where_it_must_not_is_told(tiny: DriverMap) -> None:
    """A finding shows records with absent fields by what they do give."""
    events = [*_life()[:-1], (9, 6, _u32(0xC0000001))]
    found = _records(EventLines(tiny), b"".join(_line(n, *event) for n, event in enumerate(events, 1)))
    (finding,) = [one for one in judge(found).findings if one.rule == "OB-OPSTATUS-DISCIPLINE"]
    assert ["Complete entered  NtNumber=1", "Complete returned  NtNumber=1"] == [
        witness.text.split("  ", 1)[1].split("   ")[0] for witness in finding.witnesses
    ]


def test_blanks_leave_given_fields_alone(tiny: DriverMap) -> None:
    """Only what the map does not give is absent."""
    found = _records(EventLines(tiny), b"".join(_line(n, *event) for n, event in enumerate(_life(), 1)))
    assert isinstance(found[0], Mapped)
    enter = next(record for record in found if isinstance(record, SyncEnter))
    blanked = AbsentFields(found[0]).blank(enter)
    assert isinstance(blanked, SyncEnter)
    assert (enter.nt, enter.state, enter.seq) == (blanked.nt, blanked.state, blanked.seq)
    assert isinstance(blanked.active, Absent)


def test_history_cannot_claim_that_everything_is_absent(tiny: DriverMap) -> None:
    """What the checker builds on is never blanked, whatever the record of the map says."""
    found = _records(EventLines(tiny), b"".join(_line(n, *event) for n, event in enumerate(_life(), 1)))
    names = {kind: list(driver_map.own_fields(kind)) for kind in driver_map.KINDS}
    claimed = Mapped(driver="tiny", provider=GUID, absent={**names, "hello": ["seq", "boot", "hz"]})
    assert [rule.rule for rule in judge(found).rules] == [
        rule.rule for rule in judge([claimed, *found[1:]]).rules
    ]


def test_run_directory_keeps_the_map(tiny: DriverMap, tmp_path: Path) -> None:
    """The map and its manifest are enough to read the run's logs again."""
    assert driver_map.kept_in(tmp_path) is None
    driver_map.keep(tiny, tmp_path)
    kept = driver_map.kept_in(tmp_path)
    assert kept is not None
    assert tiny.events == driver_map.load(kept).events


def test_log_is_imported_by_the_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``harness import --driver-map`` puts the driver's own events into a run's history, and judging finds them there."""
    events = [
        encoder.event(encoder.START + 1000 * n, data, provider=uuid.UUID(GUID), event_id=event, thread=thread)
        for n, (thread, event, data) in enumerate(_life(), 1)
    ]
    log = tmp_path / "tiny.etl"
    log.write_bytes(encoder.header_buffer(size=8192) + encoder.buffer(*events, size=8192))
    run = tmp_path / "run"
    run.mkdir()
    with HistoryWriter(run / "history.jsonl") as writer:
        writer.write(Header(format=FORMAT, harness="0", run="run", guest="windows-server-2025", wall=""))
        writer.write(Clock(domain="host", hz=1_000_000_000))
        writer.write(Boot(epoch=1, cause="power-on"))
        writer.write(End(outcome="completed"))
    asked = ["import", str(run), "--etw", str(log), "--driver-map", str(TINY / "harness.toml")]
    assert (0, "") == (main(asked), capsys.readouterr().err)
    history = History(tmp_path / "run-imported")
    assert len(_life()) + 1 == sum(isinstance(record, DriverRecord) for record in history)
    rules = {rule.rule: rule.verdict for rule in judge_history(history).rules}
    assert (Verdict.HOLDS, Verdict.NOT_APPLICABLE) == (
        rules["ADDEX-STARTS-THEN-COMPLETES"], rules["COUNT-MONOTONIC"],
    )  # fmt: skip
