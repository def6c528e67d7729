# SPDX-License-Identifier: MIT
"""Real logs of real Windows, against what others decoded from them."""

from __future__ import annotations

import functools
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harness.capture.etl import clock, compression, guid
from harness.capture.etl.decoder import Decoder
from harness.capture.etl.display import show
from harness.capture.etl.field import SystemTime
from harness.capture.etl.record import EventRecord, MessageRecord
from harness.capture.etl.tmf import FormatFiles
from harness.capture.etl.tracelog import TraceLog

DATA = Path(__file__).parents[4] / "shared" / "data" / "etl"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded Windows logs at {DATA}")


def unzipped(name: str, directory: Path) -> Path:
    """Unpack a log that is stored zipped and return its path."""
    with zipfile.ZipFile(DATA / f"{name}.etl.zip") as archive:
        (member,) = [one for one in archive.namelist() if one.endswith(".etl")]
        target = directory / f"{name}.etl"
        target.write_bytes(archive.read(member))
    return target


def baseline(name: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield (milliseconds, provider/event, fields) from TraceEvent's decode of a log."""
    for line in (DATA / f"{name}.baseline.txt").read_text().splitlines():
        match = re.fullmatch(r"EVENT ([\d,.]+): (.+?) PID=(.*)", line)
        if match:
            pairs = re.findall(r"(\w+)=(.*?); ", f"PID={match[3]} ")
            yield match[1].replace(",", ""), match[2], dict(pairs)


Expand = Callable[[bytes, int], bytes]


@pytest.fixture(scope="module")
def expand() -> Expand:
    """Expands each buffer of a merged log once for the three times that it is read here: that takes most of the time."""
    return functools.cache(compression.expand)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("ShutdownPerfDiagLogger", 17078),
        ("AMSITrace", 21),
        ("lxcore_kernel", 4),
        ("primitive-types", 7),
        ("demi_db9cd7_PktMon", 467),
        ("fn_wppbin-sample", 6),
        ("fn_wppemitter-sample", 49),
        ("pv_net.4.5.2.x64", 179474),
        ("syz_5c3171_process_data_64_v2", 9),
        ("tx_f10b11_Process", 10344),
    ],
)
def test_every_record_of_a_real_log_is_found_in_time_order(
    name: str, count: int, tmp_path: Path, expand: Expand
) -> None:
    """The counts are those of two other readers; the order is that of the ticks."""
    path = DATA / f"{name}.etl"
    with TraceLog(path if path.exists() else unzipped(name, tmp_path), expand) as log:
        times = [record.time for record in log]
        assert (len(times), log.account.records) == (count, count)
        assert sorted(times) == times
        assert (log.account.damaged, log.account.late, log.account.truncated) == (0, 0, False)


def test_records_written_in_the_wrong_order_come_out_right() -> None:
    """The lxcore log holds its newer payload event in the earlier buffer."""
    with TraceLog(DATA / "lxcore_kernel.etl") as log:
        offsets = [buffer.offset for buffer in log.buffers() if buffer.processor == 3]
        events = [record for record in log if isinstance(record, EventRecord)]
        lines = [Decoder().decode(event).values["Line"] for event in events]
    assert offsets == [8192]
    assert [event.processor for event in events] == [5, 3]
    assert lines == [10528, 2659]


def test_lost_events_of_a_real_log_are_reported() -> None:
    """The AMSI session lost three events, and says so in its header."""
    with TraceLog(DATA / "AMSITrace.etl") as log:
        assert log.account.reasons() == ["the session lost 3 events"]


def test_a_whole_log_is_called_whole() -> None:
    """Nothing is missing from the shutdown log, not even one of its 49 buffers."""
    with TraceLog(DATA / "ShutdownPerfDiagLogger.etl") as log:
        assert sum(1 for _ in log) == 17078
        assert (log.account.buffers, log.account.reasons()) == (49, [])


@pytest.mark.parametrize(
    ("name", "buffers", "compressed"),
    [
        ("demi_db9cd7_PktMon", 3, 2),
        ("fn_wppbin-sample", 2, 0),
        ("pv_net.4.5.2.x64", 360, 359),
        ("syz_5c3171_process_data_64_v2", 2, 0),
        ("tx_f10b11_Process", 182, 0),
    ],
)
def test_nothing_is_said_to_be_missing_where_nothing_is(name: str, buffers: int, compressed: int) -> None:
    """Merged, compressed and sequential logs of several Windows: each says how many buffers it has, and has them."""
    with TraceLog(DATA / f"{name}.etl") as log:
        assert (log.account.buffers, log.account.compressed, log.account.disputed) == (buffers, compressed, 0)
        assert log.session.buffers_written == buffers
        assert log.account.reasons() == []


def test_kernel_image_events_are_decoded() -> None:
    """Every image event of the shutdown log fits its layout to the last byte and names a file."""
    decoder = Decoder()
    counts: Counter[str] = Counter()
    kernels = set()
    with TraceLog(DATA / "ShutdownPerfDiagLogger.etl") as log:
        for record in log:
            decoded = decoder.decode(record)
            assert decoded.problem == ""
            if decoded.provider == "Image" and decoded.how == "kernel":
                counts[decoded.event] += 1
                if decoded.event in ("KernelBase", "HypercallPage"):
                    if decoded.event == "KernelBase":
                        kernels.add(hex(decoded.values["ImageBase"]))
                    continue
                assert decoded.values["FileName"].startswith("\\")
                if decoded.values["FileName"].endswith("ntoskrnl.exe"):
                    kernels.add(hex(decoded.values["ImageBase"]))
    assert counts == {
        "DCStart": 6745, "Unload": 4791, "DCEnd": 2145, "Load": 72, "KernelBase": 1, "HypercallPage": 1
    }  # fmt: skip
    assert kernels == {"0xfffff802424ab000"}


def as_baseline(value: Any) -> str:
    """Render a value as TraceEvent's baseline does, without the thousands separators."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, SystemTime):
        return value.iso()
    return str(value)


def test_tracelogging_equals_what_traceevent_decodes(tmp_path: Path) -> None:
    """All fields of the five self-describing events; the baseline shortens long values and shows times rounded."""
    expected = [row for row in baseline("primitive-types") if row[1] == "solar_system/PrimitiveTypesTest"]
    decoder = Decoder()
    seen = []
    with TraceLog(unzipped("primitive-types", tmp_path)) as log:
        for record in log:
            if isinstance(record, EventRecord):
                seen.append((record, decoder.decode(record), log.session.clock.nanoseconds(record.time)))
    assert len(seen) == len(expected) == 5
    for (record, decoded, nanoseconds), (milliseconds, name, fields) in zip(seen, expected, strict=True):
        assert nanoseconds is not None
        assert f"{decoded.provider}/{decoded.event}" == name
        assert abs(nanoseconds / 1e6 - float(milliseconds)) <= 0.0005001
        assert (str(record.process), str(record.thread)) == (fields.pop("PID"), fields.pop("TID"))
        assert (str(record.processor), str(len(record.payload))) == (
            fields.pop("ProceNum"),
            fields.pop("DataLen"),
        )
        fields.pop("PName")
        assert list(decoded.values) == list(fields)
        for field, shown in fields.items():
            value = decoded.values[field]
            if field == "char_type":
                value = ord(value)
            elif field == "int64_type":
                # The log's own description calls it unsigned; TraceEvent has one type for both.
                value -= 1 << 64
            elif field.endswith("_time_type"):
                # The baseline cuts a FILETIME after two decimals; its SYSTEMTIMEs all end in ".03", which is not
                # what the 16 bytes say, so those are compared to the second.
                iso = value.iso() if isinstance(value, SystemTime) else clock.iso(value)
                kept = 17 if isinstance(value, SystemTime) else 20
                assert iso[2:].replace("-", "/").replace("T", " ")[:kept] == shown[:kept]
                continue
            if shown.endswith("..."):
                assert as_baseline(value).startswith(shown.removesuffix("..."))
            else:
                assert as_baseline(value) == shown.replace(",", "")


def test_a_manifest_providers_log_equals_the_baseline_without_its_manifest(tmp_path: Path) -> None:
    """Provider, time, process, thread, processor, payload length and opcode of the listed events, and all counts."""
    counts = {}
    for line in (DATA / "gcevents.baseline.txt").read_text().splitlines():
        if line.startswith("COUNT Microsoft-Windows-DotNETRuntime/"):
            name, _, count = line.removeprefix("COUNT ").rpartition(":")
            counts[name] = int(count)
    with TraceLog(unzipped("gcevents", tmp_path)) as log:
        records = [record for record in log if isinstance(record, EventRecord)]
        ticks = log.session.clock
        assert log.account.reasons() == []
    assert {guid.text(record.provider) for record in records} == {"e13c0d23-ccbc-4e12-931b-d9cc2eee27e4"}
    assert len(records) == sum(counts.values())
    # The baseline lists the first few events of each name, all in time order: each is found after the one before it.
    names: dict[int, str] = {}
    opcodes: dict[str, set[int]] = {}
    rest = iter(records)
    for milliseconds, name, fields in baseline("gcevents"):
        if name not in counts:
            continue
        shown = Decimal(milliseconds) * 1_000_000
        record = next(one for one in rest if abs(shown - (ticks.nanoseconds(one.time) or 0)) <= 500)
        assert (record.process, record.thread) == (int(fields["PID"]), int(fields["TID"]))
        assert (record.processor, len(record.payload)) == (int(fields["ProceNum"]), int(fields["DataLen"]))
        assert names.setdefault(record.id, name) == name
        opcodes.setdefault(name, set()).add(record.opcode)
    assert Counter(names[record.id] for record in records) == counts
    assert opcodes["Microsoft-Windows-DotNETRuntime/GC/Start"] == {1}
    assert opcodes["Microsoft-Windows-DotNETRuntime/GC/Stop"] == {2}
    assert {len(seen) for seen in opcodes.values()} == {1}


def test_a_pktmon_log_is_decoded_by_its_own_descriptions() -> None:
    """All 403 events of the packet monitor, its names for numbers, and the sentence that its message makes of them."""
    decoder = Decoder()
    with TraceLog(DATA / "demi_db9cd7_PktMon.etl") as log:
        decoder.learn(log)
        found = [decoder.decode(record) for record in log if isinstance(record, EventRecord)]
    assert Counter((one.how, one.provider) for one in found) == {
        ("event info", "Microsoft-Windows-PktMon"): 403
    }
    assert [one.problem for one in found if one.problem] == []
    packet = next(one for one in found if one.event == "event 160")
    assert (packet.values["PktNumber"], packet.values["DirTag"], packet.values["OriginalPayloadSize"]) == (
        1,
        3,
        98,
    )
    assert packet.message.startswith(
        "PktGroupId 1071654, PktNumber 1, Appearance 1, Direction Rx, Type Ethernet, Component 59, Edge 1,"
    )


@pytest.mark.parametrize(
    ("name", "messages", "last"),
    [
        ("fn_wppbin-sample", 2, "due=2020-01-01T00:00:00.0000000Z"),
        (
            "fn_wppemitter-sample",
            45,
            "WppEmitter work item id=29 status=0x1d phase=startup provider=WppEmitter",
        ),
    ],
)
def test_a_wpp_log_is_decoded_by_its_format_files(name: str, messages: int, last: str) -> None:
    """Every message has its text; the log names the symbols that a missing file would come from."""
    decoder = Decoder(formats=FormatFiles([DATA]))
    with TraceLog(DATA / f"{name}.etl") as log:
        decoder.learn(log)
        found = [decoder.decode(record) for record in log if isinstance(record, MessageRecord)]
        assert {decoder.source(record)[0] for record in log} == {"kernel", "wpp", "raw"}
    assert (len(found), {one.how for one in found}, {one.problem for one in found}) == (
        messages,
        {"wpp"},
        {""},
    )
    assert found[-1].message == last
    assert [re.sub(r".*\\", "", one).split()[0] for one in decoder.symbols] == [
        {"fn_wppbin-sample": "WppBinEmitter.pdb", "fn_wppemitter-sample": "WppEmitter.pdb"}[name]
    ]


def test_processes_of_windows_vista_are_decoded() -> None:
    """A 32-bit program's records of a 64-bit system: process, user and command line of each."""
    decoder = Decoder()
    with TraceLog(DATA / "syz_5c3171_process_data_64_v2.etl") as log:
        found = [decoder.decode(record) for record in log][1:]
    assert {(one.provider, one.how, one.problem) for one in found} == {("Process", "kernel", "")}
    assert [one.event for one in found] == ["DCStart"] * 3 + ["Start", "End"] + ["DCEnd"] * 3
    assert {one.values["ImageFileName"] for one in found} >= {"System", "notepad.exe"}


ENRICHED = {
    # TraceEvent puts these together from several records, or gives one thing two names; they are in no payload.
    "PName", "BuildTime", "PageDirectoryBase", "FileKey", "ElapsedTimeMSec", "DiskServiceTimeMSec", "Priority",
    "ParentThreadID", "ParentProcessID", "StartAddr", "TypeName", "context", "dsize", "ProcessorNumber",
    "ExecutingDPC", "ExecutingISR", "SampleSource", "GuidSig", "MemoryCount", "PayloadLength", "UtcOffsetMinutes",
    "Value", "CreateDisposition", "IrpPtr", "FileAttributes", "ModuleILFileName", "FileName",
    # Fields of later versions of the runtime's events, shown as 0, and an array shown by its elements.
    "ObjectSize", "ReJITID", "OptimizationTier", "ClientSequenceNumber", "TotalHeapSize", "TotalPromoted", "Depth",
    "GenerationSize4", "TotalPromotedSize4", "TypeID_0", "TypeName_0",
}  # fmt: skip
"""Fields of the baseline that the records of the log do not hold."""

WORDS = {
    # Here TraceEvent shows names of its own, or less than there is: the number is what both have.
    "Flags", "IrpFlags", "keywords", "stacks", "CreateOptions", "ShareAccess", "ModuleFlags", "AssemblyFlags",
    "AppDomainFlags", "ThreadFlags", "ProcessName",
    "PhysicalAddr",
}  # fmt: skip


def test_a_merged_log_agrees_with_what_traceevent_decodes(expand: Expand) -> None:
    """Each line of the baseline has its record, at its time and of its length, and every field in it the same value."""
    lines: dict[int, list[tuple[str, dict[str, str]]]] = {}
    for milliseconds, name, fields in baseline("net.4.5.2.x64"):
        if not name.startswith("Microsoft-Windows-DotNETRuntimePrivate/"):  # nothing in the log describes it
            lines.setdefault(round(Decimal(milliseconds) * 1000), []).append((name, fields))
    total = sum(map(len, lines.values()))
    decoder = Decoder()
    agreed = matched = 0
    different: list[tuple[str, str, str, str]] = []
    with TraceLog(DATA / "pv_net.4.5.2.x64.etl", expand) as log:
        decoder.learn(log)
        for record in log:
            nanoseconds = log.session.clock.nanoseconds(record.time) or 0
            for microsecond in {
                (nanoseconds - 500) // 1000,
                nanoseconds // 1000,
                (nanoseconds + 500) // 1000,
            }:
                for line in list(lines.get(microsecond, ())):
                    name, fields = line
                    size = str(len(record.payload))
                    if (str(record.processor), size) != (fields["ProceNum"], fields["DataLen"]):
                        continue
                    decoded = decoder.decode(record)
                    provider = name.partition("/")[0]
                    if provider not in KERNEL and provider != decoded.provider:
                        continue
                    if (provider in KERNEL) != (decoded.how in ("kernel", "raw")):
                        continue
                    lines[microsecond].remove(line)
                    matched += 1
                    known = {field.name: field for field in decoded.fields}
                    found = {key.lower(): (key, value) for key, value in decoded.values.items()}
                    for field, shown in list(fields.items())[5:]:
                        if field in ENRICHED | WORDS or decoded.how == "raw":
                            continue
                        key, value = found[field.lower()]
                        mine = show(value, known.get(key))
                        if same(shown.replace(",", ""), mine, value):
                            agreed += 1
                        else:
                            different.append((name, field, shown, mine))
                    break
    assert (matched, sum(map(len, lines.values()))) == (total, 0)
    # The baseline shows 0 for a process that the payload's own field calls 4, as the header does.
    assert {one for one in different if one[0] != "KernelTraceControl/ImageID"} == set()
    assert {one[1:] for one in different} <= {("ProcessID", "0", "4")}
    assert agreed > 1700


KERNEL = {"Windows Kernel", "KernelTraceControl", "MSNT_SystemTrace"}


def same(shown: str, mine: str, value: Any) -> bool:
    """True when a baseline's value, cut and without thousands separators, is ours."""
    mine = mine.replace(",", "")
    if shown.endswith("..."):
        cut = shown.removesuffix("...")
        if re.match(r"\d\d/\d\d/\d\d ", cut):
            return mine[2:].replace("-", "/").replace("T", " ").startswith(cut[:17])
        return mine.startswith(cut) or str(value).startswith(cut)
    if mine.lower() == shown.lower():
        return True
    try:
        return (int(shown, 0) - int(value)) % (1 << 32) == 0
    except (ValueError, TypeError):
        return False
