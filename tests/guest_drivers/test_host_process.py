# SPDX-License-Identifier: MIT
"""The driver's source, executed in a process under sanitizers. Says nothing about Windows."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
from guest_drivers.host_process import (
    BUFFER_TOO_SMALL,
    DEVICE_NOT_READY,
    INSUFFICIENT_RESOURCES,
    INVALID_BUFFER_SIZE,
    INVALID_DEVICE_REQUEST,
    INVALID_DEVICE_STATE,
    INVALID_PARAMETER,
    SUCCESS,
    build,
    code,
    mark,
    request,
    run,
    sweep,
)

from harness.guest.fault_injection import INJECTED_FAULTS
from harness.history.driver import (
    Alloc,
    AnyDriverRecord,
    AsyncEnter,
    AsyncExit,
    Bind,
    CallEnter,
    CallExit,
    Free,
    Grow,
    Hello,
    Mark,
    Overrun,
    SyncEnter,
    SyncExit,
    Work,
)

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(
        shutil.which("gcc") is None or shutil.which("make") is None, reason="needs gcc and make"
    ),
]

STOP = (request("DETACH"), "stop hpnotify")
STATISTICS = struct.Struct("<6Q6I")
PROCESSOR = struct.Struct("<4I3Q")


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Path:
    """The host process with AddressSanitizer and UndefinedBehaviorSanitizer."""
    return build(request.config.cache.mkdir("hpnotify-host"), "address,undefined")


@pytest.fixture(scope="session")
def threads(request: pytest.FixtureRequest) -> Path:
    """The host process with ThreadSanitizer."""
    return build(request.config.cache.mkdir("hpnotify-host"), "thread")


def statuses(*given: int) -> list[tuple[int, bytes]]:
    return [(status, b"") for status in given]


def test_one_life(host: Path) -> None:
    """Existing processors, an addition, a failed one, memory, unload: each callback once, everything given back."""
    seen = run(host, "start hpnotify", "add 5", "fail 3", "add 3", "memory 0x100000000 0x10000000", *STOP)
    assert "S0 S1 C0 C1 S2 C2 S3 F3 S3 C3" == seen.states()
    assert ([], []) == (seen.unbalanced(), seen.trouble)
    assert list(range(1, len(seen.records) + 1)) == [record.seq for record in seen.records]
    assert isinstance(seen.records[0], Hello)
    arrivals = [record for record in seen.records if isinstance(record, AsyncEnter)]
    assert ["cpu", "cpu", "memory"] == [record.cls for record in arrivals]
    assert [3, 4, 4] == [record.active for record in arrivals]
    assert [(0, 128 << 10), (128 << 10, 192 << 10)] == [
        (record.before, record.after) for record in seen.records if isinstance(record, Grow)
    ]


def test_unload_lets_go_of_arrivals_first(host: Path) -> None:
    """The Plug and Play registrations end before Unload begins, tracing ends after the last of all."""
    seen = run(host, "start hpnotify", *STOP)
    calls = [record.call for record in seen.records if isinstance(record, CallEnter)]
    begin = ["etw_reg", "driver_entry", "reg_sync", "reg_async", "reg_async"]
    assert [*begin, "unreg_ex", "unreg_ex", "unload", "dereg_sync", "etw_unreg"] == calls


def test_plain_stop_leaves_nothing_either(host: Path) -> None:
    """A stop without the request before it still ends every registration, inside Unload."""
    seen = run(host, "start hpnotify", "stop hpnotify")
    assert ([], []) == (seen.unbalanced(), seen.trouble)


@pytest.mark.parametrize(
    ("nth", "states"), [(1, "S2! F2 S2 C2"), (2, "S2 C2 S3! F3")], ids=["next", "second"]
)
def test_veto(host: Path, nth: int, states: str) -> None:
    """The asked-for Start is vetoed with the asked-for status and frees what it allocated before it returns."""
    seen = run(
        host, "start hpnotify AddExisting=0", request("VETO", 0xC0000001, nth), "add 2", "add 3", *STOP
    )
    assert states == seen.states()
    assert [] == seen.unbalanced()
    expected = (
        [SUCCESS, SUCCESS, 0xC0000001, SUCCESS] if nth == 1 else [SUCCESS, SUCCESS, SUCCESS, 0xC0000001]
    )
    assert [*expected, SUCCESS, SUCCESS] == [status for status, _ in seen.answers]
    vetoed = next(record for record in seen.records if isinstance(record, SyncExit) and record.op)
    freed = [record.seq for record in seen.records if isinstance(record, Free) and record.nt == vetoed.nt]
    assert vetoed.enter < freed[0] < vetoed.seq


def test_veto_taken_back(host: Path) -> None:
    """A success status takes a pending veto back."""
    seen = run(
        host, "start hpnotify AddExisting=0", request("VETO", 0xC0000001, 1), request("VETO", 0, 1), "add 2", *STOP
    )  # fmt: skip
    assert "S2 C2" == seen.states()


def test_veto_of_an_existing_processor(host: Path) -> None:
    """The registration comes to nothing, with the callback's own status, and nothing stays allocated."""
    seen = run(
        host, "start hpnotify", request("VETO", 0xC00000BB, 2), request("REGISTER", 1, 1), *STOP, processors="3 6 64"
    )  # fmt: skip
    assert "S0 S1 S2 C0 C1 C2 S0 S1! F0" == seen.states()
    assert statuses(SUCCESS, SUCCESS, 0xC00000BB, SUCCESS, SUCCESS) == seen.answers
    results = [
        (record.result, record.handle)
        for record in seen.records
        if isinstance(record, CallExit) and record.call == "reg_sync"
    ]
    assert [(SUCCESS, 1), (0xC00000BB, 0)] == results
    assert [] == seen.unbalanced()


@pytest.mark.parametrize(("veto", "states"), [(1, "S0!"), (2, "S0 S1! F0")])
def test_veto_while_it_is_loaded(host: Path, veto: int, states: str) -> None:
    """DriverEntry fails with the callback's own status, nothing stays allocated, and the driver loads the next time."""
    seen = run(host, f"start hpnotify Veto={veto}", "start hpnotify Veto=3", "add 2", "add 3", *STOP)
    assert f"{states} S0 S1 C0 C1 S2! F2 S3 C3".replace("S3 C3", "S2 C2") == seen.states()
    assert statuses(0xC000009A, SUCCESS, 0xC000009A, SUCCESS, SUCCESS, SUCCESS) == seen.answers
    assert ([], []) == (seen.unbalanced(), seen.trouble)


def test_an_earlier_error_is_left_alone(host: Path) -> None:
    """A driver that finds another's error in its Start allocates nothing and gets its Failure."""
    seen = run(
        host, "start a AddExisting=0", "start b AddExisting=0", request("VETO", 0xC0000017, 1, driver="a"), "add 2",
        "stop a", "stop b",
    )  # fmt: skip
    entered = [record for record in seen.records if type(record).__name__ == "SyncEnter"]
    assert [("a", 0, 0), ("b", 0, 0xC0000017), ("a", 2, 0), ("b", 2, 0)] == [
        (record.driver, record.state, record.op) for record in entered
    ]
    assert [] == [record for record in seen.records if isinstance(record, Alloc) and record.driver == "b"]
    assert ([], []) == (seen.unbalanced(), seen.trouble)


@pytest.mark.parametrize("fault", sorted(set(INJECTED_FAULTS) - {"reset-mid-attempt"}))
def test_survives_every_fault(host: Path, fault: str) -> None:
    """Whatever the layer does to two drivers, with vetoes, registrations and memory, it is no memory error and no leak."""
    seen = run(
        host, f"plant {fault}", "start hpnotify", "start second", "add 2", request("VETO", 0xC0000017, 1), "add 3",
        request("VETO", 0xC0000017, 2), request("REGISTER", 1, 1), "add 3", "memory 0x100000000 0x10000000",
        request("DEREGISTER", 2, 0), request("REGISTER", 2, 1), "add 4", *STOP, request("DETACH", driver="second"),
        "stop second", "start hpnotify PlugAndPlay=1 RebalanceOptOut=1", "add 5", "deferred", "stop hpnotify",
        "start hpnotify Veto=2",
    )  # fmt: skip
    assert (0, []) == (
        seen.status,
        [text for text in seen.trouble if "never freed" in text or "left behind" in text],
    )


def test_two_drivers_and_two_registrations(host: Path) -> None:
    """Every Start of an addition comes before every Complete; a veto of one fails it for all that had a Start."""
    seen = run(
        host, "start a AddExisting=0 SecondRegistration=1", "start b AddExisting=0", "add 2",
        request("VETO", 0xC0000001, 1, driver="b"), "add 3", "stop a", "stop b",
    )  # fmt: skip
    order = [
        f"{record.driver}{record.reg}{'SCF'[record.state]}{record.nt}"
        for record in seen.records
        if type(record).__name__ == "SyncEnter"
    ]
    assert "a1S2 a2S2 b1S2 a1C2 a2C2 b1C2 a1S3 a2S3 b1S3 a1F3 a2F3 b1F3" == " ".join(order)
    assert ([], []) == (seen.unbalanced(), seen.trouble)
    assert 1 == len({record.boot for record in seen.records})


def test_loaded_again_goes_on_counting(host: Path) -> None:
    """Neither sequence numbers nor registration numbers repeat within a boot."""
    seen = run(host, "start hpnotify", *STOP, "start hpnotify", *STOP)
    assert list(range(1, len(seen.records) + 1)) == [record.seq for record in seen.records]
    registrations = [
        record.reg
        for record in seen.records
        if isinstance(record, CallEnter) and record.call.startswith("reg_")
    ]
    assert [1, 2, 3, 4, 5, 6] == registrations


def test_an_older_system_tells_its_memory_too(host: Path) -> None:
    """Before Windows 10 2004 there is only the older routine: totals and the buffer's growth are the same."""
    life = ("start hpnotify", "memory 0x100000000 0x10000000", *STOP)
    grown = [
        [(record.before, record.after) for record in seen.records if isinstance(record, Grow)]
        for seen in (
            run(host, *life, processors="2 6 64 0x20000000"),
            run(host, "older", *life, processors="2 6 64 0x20000000"),
        )
    ]
    assert [(0, 0x20000), (0x20000, 0x30000)] == grown[0] == grown[1]
    seen = run(host, "older", *life, processors="2 6 64 0x20000000")
    assert [0x30000000] == [
        record.memory for record in seen.records if isinstance(record, AsyncEnter) and record.cls == "memory"
    ]
    assert [] == seen.trouble


def test_an_arrival_of_unknown_memory_doubles_the_buffer(host: Path) -> None:
    """Without an amount the buffer doubles at a memory arrival, and at no arrival or removal of anything else."""

    def each(change: str) -> list[str]:
        return [step for nth in range(1, 5) for step in (f"break {nth}", change)]

    # Of two registrations only the first would find a call that fails.
    seen = run(
        host, "start hpnotify", *each("interface 0 0"), request("DEREGISTER", 2, 0), *each("interface 0 1"),
        *each("interface 1 1"), "break 0", "stop hpnotify",
    )  # fmt: skip
    unknown = [
        (record.cls, record.event, record.seq)
        for record in seen.records
        if isinstance(record, AsyncEnter) and not record.memory
    ]
    assert {("cpu", "arrival"), ("memory", "arrival"), ("memory", "removal")} == {
        (cls, event) for cls, event, _ in unknown
    }
    (_, (_, size)), *doubled = [
        (record.seq, (record.before, record.after)) for record in seen.records if isinstance(record, Grow)
    ]
    arrivals = [seq for cls, event, seq in unknown if (cls, event) == ("memory", "arrival")]
    assert [(size << n, size << n + 1) for n in range(len(arrivals))] == [sizes for _, sizes in doubled]
    # Within the callback; another thread's record may come between.
    left = {record.enter: record.seq for record in seen.records if isinstance(record, AsyncExit)}
    assert [True] * len(arrivals) == [
        seq < at < left[seq] for seq, (at, _) in zip(arrivals, doubled, strict=True)
    ]


def test_each_control_device_has_its_own_name(host: Path) -> None:
    """Two services whose names differ in one character have two names in both folders; a name has one device."""
    names = ["abcde", "xbcde", "axcde", "abxde", "abcxe", "abcdx"]
    seen = run(host, *[f"start {name}" for name in names], *[f"stop {name}" for name in names])
    assert statuses(*[SUCCESS] * 2 * len(names)) == seen.answers
    assert ([], []) == (seen.unbalanced(), seen.trouble)
    # A record, and so the device's name, has the first sixteen characters of the service's.
    long = "n" * 16
    seen = run(host, f"start {long}a", f"start {long}b", f"stop {long}a")
    assert statuses(SUCCESS, 0xC0000035, SUCCESS) == seen.answers


def test_each_driver_counts_for_itself(host: Path) -> None:
    """A driver that was never loaded before begins at one, whatever another's count came to."""
    seen = run(host, "start a", "stop a", "start b", "stop b", "start a", "stop a")
    for name in "ab":
        numbers = [record.seq for record in seen.records if record.driver == name]
        assert list(range(1, len(numbers) + 1)) == numbers


def test_existing_interfaces_on_request(host: Path) -> None:
    """With the flag what exists is announced while registering, as the pages allow once or twice; without it nothing is."""
    with_flag = run(host, "start hpnotify IncludeExisting=1", *STOP)
    without = run(host, "start hpnotify", *STOP)
    arrivals = [record.link for record in with_flag.records if isinstance(record, AsyncEnter)]
    assert [1, 2] == sorted(Counter(arrivals).values())
    assert [] == [record for record in without.records if isinstance(record, AsyncEnter)]


def test_parameters_out_of_range_have_their_defaults(host: Path) -> None:
    """A parameter that makes no sense does not keep the driver from starting."""
    seen = run(host, "start hpnotify AddExisting=7 IncludeExisting=9 RingRecords=3 DebugPort=0x504", *STOP)
    assert "S0 S1 C0 C1" == seen.states()
    assert [1024] == [record.ring for record in seen.records if isinstance(record, Hello)]


def test_started_twice(host: Path) -> None:
    """A second start under the same name is refused and changes nothing."""
    seen = run(host, "start hpnotify", "start hpnotify", *STOP)
    assert [SUCCESS, 0xC000010E, SUCCESS, SUCCESS] == [status for status, _ in seen.answers]


def test_work_is_spread_over_all_processors(host: Path) -> None:
    """Each processor's thread and DPC run on that processor, and every item is done once."""
    seen = run(host, "start hpnotify", "add 4", request("WORK", 900), *STOP)
    done = {record.nt: record.done for record in seen.records if isinstance(record, Work)}
    assert {0, 1, 2} == set(done)
    assert 900 == sum(done.values())
    bound = sorted((record.nt, record.what) for record in seen.records if isinstance(record, Bind))
    assert [(n, what) for n in range(3) for what in ("dpc", "thread")] == bound
    machine = {0: 0, 1: 1, 2: 2}
    assert [] == [r for r in seen.records if isinstance(r, Work) and r.cpu != machine[r.nt]]


def test_more_than_one_group(host: Path) -> None:
    """Beyond 64 processors a new group begins, and its workers run in it."""
    seen = run(
        host, "start hpnotify", "add 63", "add 64", "add 65", request("WORK", 660), request("STATISTICS", output=8192),
        *STOP, processors="63 130 64",
    )  # fmt: skip
    assert [] == seen.trouble
    *_, groups, workers = STATISTICS.unpack_from(seen.answers[5][1])
    assert (2, 66) == (groups, workers)
    bound = [(r.nt, r.group, r.number) for r in seen.records if isinstance(r, Bind) and r.what == "dpc"][-3:]
    assert [(63, 0, 63), (64, 1, 0), (65, 1, 1)] == bound
    done = {record.nt: record.done for record in seen.records if isinstance(record, Work)}
    assert (66, 660) == (len(done), sum(done.values()))
    last = seen.records[-1]
    assert (66, 64, 64, 130, 2) == (last.active, last.active_g0, last.active_g0_ex, last.maximum, last.groups)


def test_processor_beyond_every_table(host: Path) -> None:
    """A machine that reports more processors than it can have is refused, not overrun."""
    seen = run(host, "start hpnotify", "add 7", *STOP, processors="2 2 64")
    assert [SUCCESS, INSUFFICIENT_RESOURCES, SUCCESS, SUCCESS] == [status for status, _ in seen.answers]


def test_statistics(host: Path) -> None:
    """The account of each processor is cut to the buffer, and says how many there are."""
    size = STATISTICS.size + PROCESSOR.size
    seen = run(
        host, "start hpnotify", request("WORK", 10), request("STATISTICS", output=size + 7),
        request("STATISTICS", output=STATISTICS.size - 1), *STOP,
    )  # fmt: skip
    status, data = seen.answers[2]
    assert (SUCCESS, size) == (status, len(data))
    *_, port, active, maximum, groups, workers = STATISTICS.unpack_from(data)
    assert (0x504, 2, 6, 1, 2) == (port, active, maximum, groups, workers)
    assert (0, 0, 0) == PROCESSOR.unpack_from(data, STATISTICS.size)[:3]
    assert (BUFFER_TOO_SMALL, b"") == seen.answers[3]


def test_each_record_has_its_own_fields(host: Path) -> None:
    """Callbacks in groups of two: numbers, masks and registrations are those of the processor and the callback."""
    seen = run(
        host, "start hpnotify SecondRegistration=1 IncludeExisting=1", "add 2", "add 3", "memory 0x100000000 0x10000000",
        *STOP, processors="2 6 2",
    )  # fmt: skip
    enters = {record.seq: record for record in seen.records if isinstance(record, SyncEnter)}
    assert {1, 2} == {enter.reg for enter in enters.values()}
    for enter in enters.values():
        own = (enter.group, enter.number)
        assert (divmod(enter.nt, 2), 2) == (own, enter.max_in_group)
        # A processor that is being added has no index before it runs.
        runs = enter.state == 1 or enter.nt < 2
        known = (0, *own, enter.nt) if runs else (INVALID_PARAMETER, 0, 0, -1)
        assert known == (enter.idx_status, enter.idx_group, enter.idx_number, enter.back_idx)
        assert runs == bool(enter.mask >> enter.number & 1)
    leaves = [record for record in seen.records if isinstance(record, SyncExit)]
    told = ("reg", "state", "nt", "group", "number", "status")
    assert [[getattr(enters[leave.enter], name) for name in told] for leave in leaves] == [
        [getattr(leave, name) for name in told] for leave in leaves
    ]
    arrivals = {record.seq: record.reg for record in seen.records if isinstance(record, AsyncEnter)}
    assert arrivals == {record.enter: record.reg for record in seen.records if isinstance(record, AsyncExit)}
    assert {3, 4} == set(arrivals.values())
    assert {10_000_000} == {record.hz for record in seen.records if isinstance(record, Hello)}
    assert 3 < len({record.thread for record in seen.records})
    assert {0} == {record.irql for record in seen.records}
    sizes = {record.size for record in seen.records if isinstance(record, Alloc)}
    assert 1 == len(sizes)
    assert min(sizes) > 100
    assert [] == seen.trouble


def test_a_second_start_keeps_one_allocation(host: Path) -> None:
    """What a Start without an end to the one before would allocate is given back at once."""
    script = ("start hpnotify AddExisting=0", "add 2", "allocations", *STOP)
    held = [run(host, f"plant {fault}", *script).answers for fault in ("none", "duplicate-start")]
    assert held[0] == held[1]


def test_the_level_is_the_one_before_the_lock(host: Path) -> None:
    """What a record says of IRQL is what the caller ran at, not the level of the log's own lock."""
    seen = run(host, "plant wrong-irql", "start hpnotify", "add 2", *STOP)
    assert {2} == {r.irql for r in seen.records if isinstance(r, SyncEnter) and r.nt == 2 and r.state == 0}
    assert {0} == {r.irql for r in seen.records if isinstance(r, SyncEnter) and r.nt < 2}


def test_statistics_count_what_happened(host: Path) -> None:
    """Refused work and the ring's capacity are told; nothing of the request's own bytes is."""
    seen = run(
        host, "start hpnotify RingRecords=32", request("WORK", 100), f"repeat 50 {request('STATISTICS', output=200)}",
        request("DEREGISTER", 0, 0), request("WORK", 7), request("STATISTICS", output=STATISTICS.size), *STOP,
    )  # fmt: skip
    accounts = [data for _, data in seen.answers if data]
    last = STATISTICS.unpack(accounts[-1])
    assert (128 << 10, 7, 32, 0) == (last[4], last[5], last[6], last[-1])
    busiest = list(PROCESSOR.iter_unpack(accounts[-2][STATISTICS.size :]))
    assert [(0, 0, 0), (1, 0, 1)] == [row[:3] for row in busiest]


def test_dpcs_are_counted(host: Path) -> None:
    """Work comes by DPCs and is done while the driver runs; how soon is nobody's promise, so it is asked again."""

    def looked() -> tuple[int, int]:
        asked = f"repeat 100 {request('STATISTICS', output=200)}"
        answers = run(host, "start hpnotify", request("WORK", 100), asked, *STOP).answers
        rows = [row for _, data in answers if data for row in PROCESSOR.iter_unpack(data[STATISTICS.size :])]
        return max(row[-1] for row in rows), max(row[-3] for row in rows)

    looks = [looked() for _ in range(10)]
    while not (any(dpcs for dpcs, _ in looks) and any(done for _, done in looks)) and len(looks) < 100:
        looks.append(looked())
    assert 0 < max(dpcs for dpcs, _ in looks) <= 200
    assert 0 < max(done for _, done in looks) <= 100


def test_an_overrun_is_told_once(host: Path) -> None:
    """Reading again reports only what was overwritten since: the line whose place the first report took."""
    seen = run(
        host, "start hpnotify RingRecords=16", f"repeat 40 {mark('x')}", request("READ_RING", output=65536),
        request("READ_RING", output=65536), mark("y"), request("READ_RING", output=65536), *STOP,
    )  # fmt: skip
    first, second = (record.count for record in seen.records if isinstance(record, Overrun))
    assert first > 40 - 16
    assert 1 == second


def test_a_line_that_just_fits_is_read(host: Path) -> None:
    """With room for so many lines and not a byte more, they are all read: for every size there is a fit sooner or later."""
    sizes = range(512, 760)
    asked = [step for size in sizes for step in (*[mark("fit")] * 6, request("READ_RING", output=size))]
    seen = run(host, "start hpnotify RingRecords=64", request("FLUSH"), *asked, *STOP)
    answers = [data for _, data in seen.answers if data]
    assert len(sizes) == len(answers)
    nexts = [data.index(b"\n") + 1 for data in answers[1:]]
    rooms = [size - len(data) for size, data in zip(sizes, answers, strict=True)]
    assert [] == [size for size, room, line in zip(sizes, rooms, nexts, strict=False) if 0 <= line <= room]
    assert 0 in rooms


def test_buffer_grows_in_steps_and_holds_one(host: Path) -> None:
    """Sizes are whole pages, an arrival that changes nothing makes no record, and the buffer before is given back."""
    odd = ["memory 0x100000000 0x10001000", "memory 0x200000000 0x10002000"]
    seen = run(
        host, "start hpnotify", odd[0], "deferred", "allocations", odd[1], "deferred", "allocations", "interface 0 1", *STOP
    )  # fmt: skip
    grown = [(record.before, record.after) for record in seen.records if isinstance(record, Grow)]
    assert [0, 0, 0] == [after % 4096 for _, after in grown]
    assert [before for before, _ in grown[1:]] == [after for _, after in grown[:-1]]
    # The second arrival leaves its interface behind; its buffer took the place of another.
    first, second = (status for status, _ in seen.answers if status not in (SUCCESS, INVALID_PARAMETER))
    assert (first + 1, 3) == (second, len(grown))


def test_work_is_done_where_it_belongs(host: Path) -> None:
    """Neither a thread nor a DPC ever finds itself on another processor than its own, however often one looks."""
    looks = 100
    asked = f"repeat {looks} {request('STATISTICS', output=STATISTICS.size + 5 * PROCESSOR.size)}"
    seen = run(
        host, "start hpnotify", "add 2", "add 3", "add 4", request("WORK", 5000), asked, request("WORK", 5000), asked,
        *STOP, processors="2 6 2",
    )  # fmt: skip
    accounts = [data for _, data in seen.answers if len(data) > STATISTICS.size]
    assert 2 * looks == len(accounts)
    rows = [list(PROCESSOR.iter_unpack(account[STATISTICS.size :])) for account in accounts]
    assert {(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1), (4, 2, 0)} == {
        row[:3] for look in rows for row in look
    }
    assert {0} == {misplaced for look in rows for *_, misplaced, _ in look}
    assert 10000 == sum({r.nt: r.done for r in seen.records if isinstance(r, Work)}.values())


def test_trace_failures_are_counted(host: Path) -> None:
    """An event that could not be written is counted, and no other; the other channels have its record."""
    asked = request("STATISTICS", output=STATISTICS.size)
    commands = [step for nth in range(1, 8) for step in (f"break {nth}", mark(f"m{nth}"), "break 0", asked)]
    seen = run(host, "trace", "start hpnotify AddExisting=0", asked, *commands, *STOP)
    failures = [STATISTICS.unpack(data)[3] for _, data in seen.answers if len(data) == STATISTICS.size]
    marks = [record.seq for record in seen.records if isinstance(record, Mark)]
    traced = {int.from_bytes(pieces[0], "little") for _, pieces in seen.events}
    assert (0, 1) == (failures[0], failures[-1])
    assert sorted(failures) == failures
    assert 1 == len([seq for seq in marks if seq not in traced])


def test_all_channels_carry_the_same(host: Path) -> None:
    """The ring and the debug print hold the port's lines, byte for byte; the trace events hold the same values."""
    seen = run(
        host, "trace", "start hpnotify", "add 3", "memory 0x100000000 0x10000000", mark("abc"),
        request("READ_RING", output=65536), *STOP,
    )  # fmt: skip
    ring = seen.answers[4][1].decode().splitlines()
    assert seen.lines[: len(ring)] == ring
    # A worker's thread tells of itself when it first runs, which may be after the mark.
    assert [Mark] == [type(record) for record in seen.records[: len(ring)] if isinstance(record, Mark)]
    assert seen.lines == seen.prints

    # The provider exists from the end of its registration to the beginning of its end.
    assert len(seen.events) == len(seen.lines[3:-1])
    for (number, pieces), line in zip(seen.events, seen.lines[3:-1], strict=True):
        words = line.split(" ")[1:-1]
        kinds = [kind.__struct_config__.tag for kind in get_args(AnyDriverRecord)]
        assert f"ev={kinds[number - 1]}" == words.pop(4)
        assert [word.partition("=")[2] for word in words] == [
            as_written(word.partition("=")[0], word.partition("=")[2], piece)
            for word, piece in zip(words, pieces, strict=True)
        ]


def as_written(key: str, written: str, piece: bytes) -> str:
    """Write a trace event's value as the line writes the field ``key``."""
    if key == "boot":
        return f"{int.from_bytes(piece, 'little'):016x}"
    if key == "link":
        return piece.decode("utf-16-le").removesuffix("\0")
    if key in STRINGS and not (key == "version" and written.isdigit()):
        return piece.decode("ascii").removesuffix("\0")
    assert len(piece) == 8
    number = int.from_bytes(piece, "little", signed=key == "back_idx")
    return f"{number:#x}" if written.startswith("0x") else str(number)


STRINGS = {"driver", "version", "mode", "call", "cls", "event", "what", "nonce"}


def test_ring_counts_what_it_overwrites(host: Path) -> None:
    """A storm of 100,000 records loses lines of the ring but no count of them."""
    seen = run(
        host, "start hpnotify AddExisting=0 DebugPort=0 RingRecords=16", f"repeat 100000 {mark('storm')}",
        request("STATISTICS", output=STATISTICS.size), request("READ_RING", output=65536),
        request("FLUSH"), request("READ_RING", output=512), *STOP,
    )  # fmt: skip
    records, unread, overrun, *_ = STATISTICS.unpack_from(seen.answers[100001][1])
    assert (16, records - 16) == (unread, overrun)
    assert records > 100000
    lines = seen.answers[100002][1].decode().splitlines()
    assert " ev=overrun " in lines[-1]
    assert f" count={overrun} " in lines[-1]
    # The report itself took the place of one more line, which the next report tells of.
    assert (SUCCESS, SUCCESS) == (seen.answers[100003][0], seen.answers[100004][0])


LENGTHS = {"VETO": 8, "MARK": 32, "DELAY": 4, "REGISTER": 8, "DEREGISTER": 8, "WORK": 4}


@pytest.mark.parametrize("name", LENGTHS)
def test_input_of_any_other_length_is_refused(host: Path, name: str) -> None:
    """Nothing shorter, longer or absent is read."""
    exact = LENGTHS[name]
    lengths = [0, 1, exact - 1, exact + 1, exact + 64, 65536]
    commands = [f"control hpnotify {code(name):#x} 16 {'01' * length}" for length in lengths]
    seen = run(host, "start hpnotify", *commands, *STOP)
    assert statuses(SUCCESS, *[INVALID_BUFFER_SIZE] * len(lengths), SUCCESS, SUCCESS) == seen.answers


def test_requests_that_take_nothing(host: Path) -> None:
    """A buffer where none belongs is refused, and so is an unknown code with any buffer."""
    seen = run(
        host, "start hpnotify", f"control hpnotify {code('DETACH'):#x} 1", f"control hpnotify {code('FLUSH'):#x} 0 00",
        f"control hpnotify {code('READ_RING'):#x} 512 00", f"control hpnotify {code('STATISTICS'):#x} 512 00",
        f"control hpnotify {code('READ_RING'):#x} 511", "control hpnotify 0 0", "control hpnotify 0xffffffff 64 0102",
        f"control hpnotify {code('WORK') | 3:#x} 0 01000000", *STOP,
    )  # fmt: skip
    expected = [*[INVALID_BUFFER_SIZE] * 4, BUFFER_TOO_SMALL, *[INVALID_DEVICE_REQUEST] * 3]
    assert statuses(SUCCESS, *expected, SUCCESS, SUCCESS) == seen.answers


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (request("VETO", 0xC0000001, 0), INVALID_PARAMETER),
        (request("DELAY", 60001), INVALID_PARAMETER),
        (request("DELAY", 60000), SUCCESS),
        (request("DEREGISTER", 2, 0), SUCCESS),
        (request("DEREGISTER", 3, 0), SUCCESS),
        (request("REGISTER", 4, 0), INVALID_PARAMETER),
        (request("REGISTER", 1, 2), INVALID_PARAMETER),
        (request("REGISTER", 0, 0), INVALID_DEVICE_STATE),
        (request("REGISTER", 2, 0), INVALID_DEVICE_STATE),
        (request("DEREGISTER", 0xFFFFFFFF, 0), INVALID_PARAMETER),
        (request("DEREGISTER", 1, 0), SUCCESS),
        (request("WORK", 100001), INVALID_PARAMETER),
        (request("WORK", 100000), SUCCESS),
        (request("WORK", 0), SUCCESS),
        (mark(""), INVALID_PARAMETER),
        (mark("a b"), INVALID_PARAMETER),
        (mark("a=b"), INVALID_PARAMETER),
        (mark("x" * 32), SUCCESS),
        (mark("Az09"), SUCCESS),
        *[(mark(f"a{sign}"), INVALID_PARAMETER) for sign in "/:@[`{\x7f"],
        (f"control hpnotify {code('DETACH'):#x} 0 00", INVALID_BUFFER_SIZE),
        (f"control hpnotify {code('FLUSH'):#x} 1", INVALID_BUFFER_SIZE),
    ],
)
def test_values_out_of_range(host: Path, command: str, status: int) -> None:
    """A value that makes no sense is refused and nothing happens."""
    seen = run(host, "start hpnotify", command, *STOP)
    assert status == seen.answers[1][0]
    assert ([], []) == (seen.unbalanced(), seen.trouble)


def test_every_kind_of_event_and_name_is_only_recorded(host: Path) -> None:
    """Whatever comes as an event, a class and a name, nothing but an arrival is acted on, and names are cut, never overrun."""
    names = {
        "": "",
        "a b%=": "a b%=",
        "\u00e9\u20ac\U0001f600": "\u00e9\u20ac\U0001f600",
        "\ud800x": "\ufffdx",
        "\udc00\ud800": "\ufffd\ufffd",
        "\ud800\ue000": "\ufffd\ue000",
        "\udfff": "\ufffd",
        "\U00010000\uffff": "\U00010000\uffff",
        "\U0001f600ab\U000103ffc": "\U0001f600ab\U000103ffc",
        "a\udc00\udc00": "a\ufffd\ufffd",
        "\U0010ffff\x7f\x80\u07ff\u0800": "\U0010ffff\x7f\x80\u07ff\u0800",
    }
    commands = [f"interface 1 1 {name.encode('utf-16-le', 'surrogatepass').hex()}" for name in names if name]
    long = ["x" * 256 + "y" * 50, "\u20ac" * 200]
    commands += [f"interface 2 2 {name.encode('utf-16-le').hex()}" for name in long]
    seen = run(host, "start hpnotify", request("DEREGISTER", 2, 0), "interface 1 0", *commands, *STOP)
    arrivals = [record for record in seen.records if isinstance(record, AsyncEnter)]
    assert [*names.values()] == [record.link for record in arrivals[: len(names)]]
    assert ["removal"] * len(names) == [record.event for record in arrivals[: len(names)]]
    processors = "{97fadb10-4e33-40ae-359c-8bef029dbdd0}"
    assert [processors, "memory"] == [record.cls for record in arrivals[:2]]
    other = "{12345678-9abc-def0-0102-030405060708}"
    assert [(other, other)] * 2 == [(record.event, record.cls) for record in arrivals[len(names) :]]
    assert ["x" * 100, "\u20ac" * 10] == [
        record.link[:length] for record, length in zip(arrivals[len(names) :], (100, 10), strict=True)
    ]
    assert f"~{zlib.crc32(b'x' * 256):08x}" == arrivals[len(names)].link[-9:]
    assert 1 == len([record for record in seen.records if isinstance(record, Grow)])
    assert ([], []) == (seen.unbalanced(), seen.trouble)
    assert all(len(line) < 512 for line in seen.lines)


def test_buffer_has_limits(host: Path) -> None:
    """The buffer stops growing at its limit, however much memory there is."""
    seen = run(
        host, "start hpnotify", "memory 0x100000000 0x4000000000", "memory 0x8000000000 0x4000000000", *STOP
    )
    assert [128 << 10, 16 << 20] == [record.after for record in seen.records if isinstance(record, Grow)]


def test_start_takes_as_long_as_asked(host: Path) -> None:
    """The delay lies inside the Start callback, of each registration."""
    seen = run(
        host, "start hpnotify AddExisting=0 SecondRegistration=1", request("DELAY", 30), "add 2", *STOP
    )
    enter, leave, second, second_leave = [
        record for record in seen.records if getattr(record, "state", None) == 0
    ]
    assert (enter.reg, leave.reg, second.reg, second_leave.reg) == (1, 1, 2, 2)
    assert min(leave.qpc - enter.qpc, second_leave.qpc - second.qpc) >= 300000


def test_any_service_name(host: Path) -> None:
    """A record's driver is the service name, cut and with what could not be told from a line's own signs replaced."""
    seen = run(host, "start A_z-09-and-more-of-it", "stop A_z-09-and-more-of-it")
    assert {"A_z-09-and-more-"} == {record.driver for record in seen.records}
    assert [] == seen.unbalanced()


def test_memory_arrivals_come_and_go(host: Path) -> None:
    """The registration for memory is made and ended at run time like the one for processors.

    What exists then may be reported twice (DDI: wdm/nf-wdm-ioregisterplugplaynotification.md), and the layer does so.
    """
    seen = run(
        host, "start hpnotify", request("DEREGISTER", 3, 0), "memory 0x100000000 0x10000000", request("REGISTER", 3, 1),
        *STOP,
    )  # fmt: skip
    assert ["memory", "memory"] == [record.cls for record in seen.records if isinstance(record, AsyncEnter)]
    assert [] == seen.unbalanced()


def test_registrations_at_run_time(host: Path) -> None:
    """Registrations come and go one by one; without the first there is nobody to do work."""
    seen = run(
        host, "start hpnotify", request("DEREGISTER", 0, 0), request("WORK", 3), "add 2", request("REGISTER", 0, 0),
        "add 3", request("DEREGISTER", 2, 0), "add 4", request("REGISTER", 2, 0), *STOP,
    )  # fmt: skip
    assert "S0 S1 C0 C1 S3 C3 S4 C4" == seen.states()
    assert DEVICE_NOT_READY == seen.answers[2][0]
    assert 2 == len([record for record in seen.records if isinstance(record, AsyncEnter)])
    assert ([], []) == (seen.unbalanced(), seen.trouble)


def test_registering_again_and_again_holds_no_more(host: Path) -> None:
    """What a registration at run time takes, its end gives back at once, not at unload."""
    again = [
        request("REGISTER", 1, 1),
        request("DEREGISTER", 1, 0),
        request("DEREGISTER", 3, 0),
        request("REGISTER", 3, 0),
    ]
    seen = run(host, "start hpnotify", *again, "allocations", *again * 5, "allocations", *STOP)
    assert seen.answers[5] == seen.answers[-3]


FAULTS = {
    "complete-before-start": "C2 S2",
    "duplicate-start": "S2 S2 C2",
    "missing-complete": "S2",
    "existing-interleaved": "S2 C2",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_survives_what_is_not_documented(host: Path, fault: str) -> None:
    """Callbacks in an order that nobody promised neither crash the driver nor leave anything behind."""
    seen = run(host, f"plant {fault}", "start hpnotify", "add 2", request("WORK", 5), *STOP)
    assert FAULTS[fault] == " ".join(word for word in seen.states().split() if word.endswith("2"))
    assert ([], []) == (seen.unbalanced(), seen.trouble)


LIFE = (
    "start hpnotify SecondRegistration=1 IncludeExisting=1", "add 4", "fail 3", "memory 0x100000000 0x10000000",
    request("VETO", 0xC0000001, 1), "add 5", request("WORK", 10), request("STATISTICS", output=1000),
    request("READ_RING", output=4096), request("DEREGISTER", 1, 0), request("REGISTER", 1, 1), request("DETACH"),
    "stop hpnotify",
)  # fmt: skip


def test_every_fallible_call_fails_once(host: Path) -> None:
    """Whatever fails, nothing crashes, nothing leaks, every call span closes and every registration ends."""
    transcripts = sweep(host, *LIFE)
    assert len(transcripts) > 100
    for nth, seen in enumerate(transcripts, start=1):
        said = [text for text in seen.trouble if not text.startswith("no memory to announce")]
        assert (nth, 0, [], []) == (nth, seen.status, said, seen.unbalanced())
        started = [status for status, _ in seen.answers[1:2]]
        entry = [r.result for r in seen.records if isinstance(r, CallExit) and r.call == "driver_entry"]
        assert entry in ([], started)
        made = [r for r in seen.records if isinstance(r, CallExit) and r.call == "reg_sync"]
        assert [] == [r for r in made if (r.handle == 0) != (r.result != SUCCESS)]


def test_a_registration_that_fails_leaves_the_driver_as_it_was(host: Path) -> None:
    """Whatever fails when the first registration is made again, statistics and work are still answered."""
    transcripts = sweep(
        host, "start hpnotify", request("DEREGISTER", 0, 0), request("REGISTER", 0, 1), request("STATISTICS", output=900),
        request("WORK", 2), *STOP,
    )  # fmt: skip
    for nth, seen in enumerate(transcripts, start=1):
        said = [text for text in seen.trouble if not text.startswith("no memory to announce")]
        assert (nth, 0, [], []) == (nth, seen.status, said, seen.unbalanced())


def test_a_vetoed_registration_holds_nothing(host: Path) -> None:
    """A registration at run time that an existing processor's veto brings to nothing has given everything back."""
    vetoed = (request("VETO", 0xC00000BB, 1), request("REGISTER", 1, 1))
    seen = run(host, "start hpnotify", "allocations", *vetoed, *vetoed, "allocations", *STOP)
    first, last = (status for status, _ in seen.answers if status not in (SUCCESS, 0xC00000BB))
    assert first == last


def test_everything_at_once(threads: Path) -> None:
    """Additions, failures, requests, memory and a second driver at the same time: no race, nothing lost."""
    lanes = {
        1: ["add 2", "fail 4", "add 3", "fail 4", "add 5"],
        2: [request("WORK", 50), request("STATISTICS", output=900), request("READ_RING", output=60000)] * 3,
        3: ["memory 0x100000000 0x10000000", "memory 0x200000000 0x10000000"],
        4: ["start other", request("WORK", 20, driver="other"), "stop other"],
        5: [request("DEREGISTER", 1, 0), request("REGISTER", 1, 1), request("DEREGISTER", 1, 0)],
    }
    commands = [f"{lane} {command}" for lane, orders in lanes.items() for command in orders]
    seen = run(
        threads,
        "start hpnotify SecondRegistration=1",
        "parallel",
        *commands,
        "join",
        *STOP,
        processors="2 8 64",
    )
    assert ([], []) == (seen.unbalanced(), seen.trouble)
    numbers = [record.seq for record in seen.records if record.driver == "hpnotify"]
    assert list(range(1, len(numbers) + 1)) == numbers
    assert 150 == sum(
        {r.nt: r.done for r in seen.records if isinstance(r, Work) and r.driver == "hpnotify"}.values()
    )


def test_slots_change_while_they_are_counted_and_everything_at_once_overruns(threads: Path) -> None:
    """Slots come and go, work looks for them and vetoes are taken, each in a thread of its own: no race."""
    lanes = {
        1: [step for number in range(2, 14) for step in (f"fail {number}", f"add {number}")],
        2: [request("STATISTICS", output=900), request("WORK", 3)] * 30,
        3: [request("VETO", 0xC0000001, 1), request("VETO", 0, 1)] * 20,
        4: [f"memory {address << 32:#x} 0x10000000" for address in range(1, 8)],
        5: ["start other", request("WORK", 20, driver="other"), "stop other"] * 3,
    }
    commands = [f"{lane} {command}" for lane, orders in lanes.items() for command in orders]
    seen = run(threads, "start hpnotify", "parallel", *commands, "join", *STOP, processors="2 20 64")
    assert ([], []) == (seen.unbalanced(), seen.trouble)


def test_reading_a_small_ring_while_it_overruns(threads: Path) -> None:
    """Readers, and everybody who writes, at the same time: no race, and each line read is whole."""
    lanes = {
        1: [f"add {number}" for number in range(2, 20)],
        2: [request("READ_RING", output=2048), request("FLUSH"), request("STATISTICS", output=900)] * 20,
        3: ["memory 0x100000000 0x10000000", "memory 0x200000000 0x10000000"],
    }
    commands = [f"{lane} {command}" for lane, orders in lanes.items() for command in orders]
    seen = run(
        threads, "start hpnotify RingRecords=16", "parallel", *commands, "join", *STOP, processors="2 20 64"
    )
    assert ([], []) == (seen.unbalanced(), seen.trouble)
    # Statistics are numbers; what was read of the ring begins with a line.
    read = {
        line for _, data in seen.answers if data[:5] == b"HPN1 " for line in data.decode("ascii").splitlines()
    }
    assert read <= set(seen.lines)


def test_flush_forgets_what_is_unread(host: Path) -> None:
    """After it the ring holds only what came later; without workers nothing else is recorded in between."""
    seen = run(
        host,
        "start hpnotify AddExisting=0",
        mark("one"),
        request("FLUSH"),
        mark("two"),
        request("READ_RING", output=4096),
        *STOP,
    )
    assert [" nonce=two "] == [
        line[line.index(" nonce=") : line.index("crc=")] for line in seen.answers[4][1].decode().splitlines()
    ]


def test_foreign_port_is_left_alone(host: Path) -> None:
    """A port that does not answer as QEMU's does is never written to; the ring has the records all the same."""
    seen = run(
        host, "start hpnotify DebugPort=0x402", request("STATISTICS", output=STATISTICS.size),
        request("READ_RING", output=65536), *STOP,
    )  # fmt: skip
    assert [] == seen.lines
    assert 0 == STATISTICS.unpack(seen.answers[1][1])[7]
    assert 10 < len(seen.answers[2][1].splitlines())


def test_each_boot_has_its_nonce(host: Path) -> None:
    """Two machines do not share the nonce of their boot, and loading the driver again does not change it."""
    boots = [
        {record.boot for record in run(host, "start a", "stop a", "start a", "stop a").records}
        for _ in range(2)
    ]
    assert [1, 1] == [len(boot) for boot in boots]
    assert boots[0] != boots[1]
    assert not boots[0] & {0, "0" * 16}


def test_checksum_of_a_line(host: Path) -> None:
    """The driver's own CRC-32 is zlib's."""
    seen = run(host, "start hpnotify", *STOP)
    body, _, crc = seen.lines[0].rpartition(" crc=")
    assert f"{zlib.crc32(body.encode()):08x}" == crc


def test_only_overruns_are_told(host: Path) -> None:
    """A ring that was read in time reports no overrun."""
    seen = run(host, "start hpnotify", request("READ_RING", output=65536), *STOP)
    assert [] == [record for record in seen.records if isinstance(record, Overrun)]
