# SPDX-License-Identifier: MIT
"""``harness etl``: what it prints of a log, to people and to programs."""

from __future__ import annotations

import csv
import json
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.capture.etl import manifest
from harness.cli.command_tree import application
from harness.driver.source import driver_folder
from harness.errors import BadDocument, UsageError
from tests.capture.etl import encoder
from tests.capture.etl.test_manifest import GUID, MANIFEST, PAYLOAD

T = encoder.START
HZ = encoder.HZ

PROGRAM = "import sys; from harness.cli.main import main; sys.exit(main())"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of one self-describing event, one of a manifest, one of the kernel's and one lost event."""
    items = [
        (12, encoder.traits("Lab.Trace")),
        (11, encoder.schema("Hot\x1b[2J", encoder.described("seq", 10))),
    ]
    path = tmp_path / "lab.etl"
    path.write_bytes(
        encoder.header_buffer(events_lost=1)
        + encoder.buffer(
            encoder.event(T + HZ, struct.pack("<Q", 7), items=items),
            encoder.event(T + 3 * HZ, PAYLOAD, provider=GUID, event_id=1, version=2),
            processor=1,
        )
        + encoder.buffer(
            encoder.perf(T + 2 * HZ, 0x0A20, struct.pack("<II", 77, 0) + b"hello\0"), processor=0, sequence=2
        )
    )
    return path


Run = Callable[..., list[str]]


@pytest.fixture
def run() -> Run:
    """Run the command in this process and return the lines it printed; errors come out as they are."""
    app = application(["etl"])

    def run(*arguments: object) -> list[str]:
        ended = CliRunner().invoke(app, ["etl", *map(str, arguments)], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        return ended.stdout.splitlines()

    return run


def test_info_names_session_clock_losses_and_providers(log: Path, run: Run) -> None:
    """One fact a line, then the counts."""
    assert run("info", log) == [
        "session    lab  sequential",
        "written to C:\\lab\\lab.etl",
        "system     10.0 (log 1.5), build 20348, 4 processors",
        "start      2022-06-18T04:26:40.0000000Z",
        "end        2022-06-18T04:26:40.0000001Z",
        "clock      qpc, 10000000 ticks a second, start at tick 1000000",
        "buffers    3 of 1024 bytes, 2 written",
        "records    4",
        "lost       1 events, 0 buffers",
        "missing    the session lost 1 events",
        "",
        "   records  provider",
        "         1  EventTrace",
        "         1  Lab.Trace",
        "         1  DbgPrint",
        f"         1  {GUID}",
        "",
        "   records  decoded by",
        "         2  kernel",
        "         1  tracelogging",
        "         1  raw",
        "",
        "   records  raw because",
        "         1  nothing describes the provider",
    ]


def test_dump_prints_records_in_time_order_and_escapes_them(log: Path, run: Run, tmp_path: Path) -> None:
    """Time since the start, processor, process and thread, names and values; nothing a terminal would obey."""
    man = tmp_path / "lab.man"
    man.write_text(MANIFEST, encoding="utf-8")
    lines = run("dump", log, "--manifest", man, "--since", "0.5")
    assert lines == [
        "      1.000000000  2022-06-18T04:26:41.0000000Z  cpu1        22:11      Lab.Trace/Hot\\x1b[2J  seq=7",
        "      2.000000000  2022-06-18T04:26:42.0000000Z  cpu0                   DbgPrint/Message  Component=77  Level=0  Message=hello",
        "      3.000000000  2022-06-18T04:26:43.0000000Z  cpu1        22:11      Lab-Driver/Sync/Enter  CPU is starting (One|Four|0x8), 100% by hpn\\x0a%99",
    ]


def test_dump_of_what_cannot_be_decoded_shows_its_bytes(log: Path, run: Run) -> None:
    """Without the manifest the event has provider, id, version and payload."""
    (line,) = run("dump", log, "--provider", f"{{{str(GUID).upper()}}}")
    assert line == (
        f"      3.000000000  2022-06-18T04:26:43.0000000Z  cpu1        22:11      {GUID}/1/2  {len(PAYLOAD)} bytes {PAYLOAD[:64].hex()}"
    )


def test_dump_as_json_lines_keeps_every_number(log: Path, run: Run, tmp_path: Path) -> None:
    """Ticks and nanoseconds are integers; raw payloads are hexadecimal."""
    rows = [
        json.loads(line)
        for line in run("dump", log, "--jsonl", "--provider", "lab.trace", "--provider", str(GUID))
    ]
    assert [(row["ticks"], row["ns"], row["cpu"], row["how"]) for row in rows] == [
        (T + HZ, 1_000_000_000, 1, "tracelogging"),
        (T + 3 * HZ, 3_000_000_000, 1, "raw"),
    ]
    assert rows[0]["values"] == {"seq": 7}
    man = tmp_path / "lab.man"
    man.write_text(MANIFEST, encoding="utf-8")
    (row,) = [
        json.loads(line)
        for line in run("dump", log, "--jsonl", "--provider", "lab-driver", "--manifest", man)
    ]
    assert (row["values"]["raw"], row["values"]["many"], row["event"]) == ("aabb", [7, 8], "Sync/Enter")
    assert (rows[1]["guid"], rows[1]["id"], rows[1]["version"], rows[1]["payload"]) == (
        str(GUID),
        1,
        2,
        PAYLOAD.hex(),
    )


@pytest.mark.parametrize(
    ("since", "until", "events"),
    [
        ("2", "", ["Message", "1/2"]),
        ("1.9999999", "2.0000001", ["Message"]),
        ("2022-06-18T04:26:42Z", "2022-06-18T06:26:43+02:00", ["Message"]),
        ("", "-1", []),
    ],
)
def test_dump_is_cut_by_time(log: Path, run: Run, since: str, until: str, events: list[str]) -> None:
    """Seconds after the start or a date; the end is exclusive."""
    rows = [json.loads(line) for line in run("dump", log, "--jsonl", f"--since={since}", f"--until={until}")]
    assert [row["event"] for row in rows] == events


def test_a_time_that_is_none_is_explained(log: Path, run: Run) -> None:
    """The option, what was given, and what could be."""
    with pytest.raises(UsageError, match="--since 'noon' is not a time") as caught:
        run("dump", log, "--since", "noon")
    assert "2026-11-21T12:00:00Z" in caught.value.hint


def test_stat_counts_headers_processors_and_events(log: Path, run: Run) -> None:
    """Three small tables, and the same as one document."""
    assert run("stat", log)[:4] == [
        "   records  header",
        "         2  event",
        "         1  system",
        "         1  perf",
    ]
    document = json.loads("\n".join(run("stat", log, "--json")))
    assert document["records"] == 4
    assert document["processors"] == {"0": 2, "1": 2}
    assert {(row["provider"], row["event"]): row["records"] for row in document["events"]} == {
        ("EventTrace", "Header"): 1,
        ("Lab.Trace", "Hot\x1b[2J"): 1,
        ("DbgPrint", "Message"): 1,
        (str(GUID), "1/2"): 1,
    }


def test_stat_says_why_counts_may_be_short(log: Path) -> None:
    """As dump does: on standard error, after the counts."""
    command = [sys.executable, "-c", PROGRAM, "etl", "stat", log]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stderr == f"harness: {log}: the session lost 1 events\n"


def test_an_empty_format_file_is_refused(log: Path, run: Run, tmp_path: Path) -> None:
    """A tracepdb that found nothing leaves one; without a word its messages would stay raw."""
    (tmp_path / "empty.tmf").touch()
    with pytest.raises(BadDocument, match=r"empty\.tmf: there is no message GUID in this file"):
        run("dump", log, "--tmf", tmp_path / "empty.tmf")


def test_wpp_messages_need_their_format_files(run: Run, tmp_path: Path) -> None:
    """Without them the messages stay raw and the missing file and the symbols are named; with them they are text."""
    path = tmp_path / "wpp.etl"
    identity = uuid.UUID(int=7).bytes_le + struct.pack("<I", 3) + b"C:\\lab\x1b[2J.pdb\0"
    path.write_bytes(
        encoder.header_buffer()
        + encoder.buffer(
            encoder.perf(T, 0x0040, identity),
            encoder.message(T + HZ, 10, struct.pack("<i", 5), guid=GUID),
        )
    )
    symbols = "C:\\lab\\x1b[2J.pdb {00000000-0000-0000-0000-000000000007} age 3"
    lines = run("info", path)
    assert f"symbols    {symbols}" in lines
    assert f"formats    1 WPP messages stay raw without {GUID}.tmf" in lines
    assert "         1  no trace message format for the message's GUID" in lines
    formats = tmp_path / "formats"
    formats.mkdir()
    (formats / f"{GUID}.tmf").write_text(
        f'{GUID} lab // SRC=lab.cpp MJ= MN=\n#typev lab_cpp7 10 "%0slot %10!d!" // FUNC=main\n'
        "{\nslot, ItemLong -- 10\n}\n"
    )
    (line,) = run("dump", path, "--tmf", formats, "--provider", "lab")
    assert (
        line == "      1.000000000  2022-06-18T04:26:41.0000000Z  cpu0         8:4       lab/lab_cpp7  slot 5"
    )
    (row,) = [json.loads(one) for one in run("dump", path, "--jsonl", "--tmf", formats, "--provider", "lab")]
    assert (row["how"], row["values"], row["message"]) == ("wpp", {"slot": 5}, "slot 5")


def test_a_directory_without_format_files_is_a_usage_error(log: Path, run: Run, tmp_path: Path) -> None:
    """The directory, and how to fill it."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty: there is no \.tmf file") as caught:
        run("dump", log, "--tmf", tmp_path / "empty")
    assert "tracepdb" in caught.value.hint


def test_a_log_without_its_header_is_not_called_unclosed(run: Run, tmp_path: Path) -> None:
    """Nobody knows whether its session ended."""
    path = tmp_path / "headless.etl"
    path.write_bytes(encoder.buffer(encoder.event(T + 1)))
    lines = run("info", path)
    assert "end        not known" in lines
    assert "lost       not known" in lines
    assert not [line for line in lines if "never closed" in line]


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """A log of two processes on two processors: an event with all that can stand around it, a named process, a switch."""
    sid = b"\1\1" + bytes(5) + b"\5" + struct.pack("<I", 18)
    items = [
        (1, uuid.UUID(int=2).bytes_le),
        (2, sid),
        (3, struct.pack("<I", 1)),
        (6, struct.pack("<QQQ", 99, 0xFFFFF80000001000, 0x7FF012345678)),
        (11, encoder.schema("=Hot", encoder.described("seq", 10))),
    ]
    process = struct.pack("<QIIIiQI", 0x10, 22, 4, 1, 0, 0x1000, 0) + bytes(4) + b"lab.exe\0" + bytes(6)
    switch = struct.pack("<IIbbBbbbbbII", 11, 12, 8, 0, 1, 0, 15, 0, 2, 3, 7, 0)
    back = struct.pack("<IIbbBbbbbbII", 0, 11, 8, 0, 1, 0, 15, 0, 2, 3, 7, 0)
    event = bytearray(encoder.event(T + HZ, struct.pack("<Q", 7), items=items))
    event[64:80] = uuid.UUID(int=1).bytes_le
    path = tmp_path / "busy.etl"
    path.write_bytes(
        encoder.header_buffer(written=3)
        + encoder.buffer(
            encoder.system(T + 1, 0x0303, process, version=4), bytes(event), processor=1, sequence=1
        )
        + encoder.buffer(
            encoder.perf(T + 10, 0x0524, switch, version=4),
            encoder.perf(T + 30, 0x0524, back, version=4),
            encoder.event(T + 2 * HZ, b"xy", thread=33, process=44, event_id=5),
            sequence=2,
        )
    )
    return path


def test_what_stands_around_an_event_is_shown(busy: Path, run: Run) -> None:
    """Activities, user, session and stack: in brackets on a line, by name in JSON."""
    (line,) = run("dump", busy, "--event", "=hot")
    assert line.endswith(
        "=Hot  seq=7  [activity 00000000-0000-0000-0000-000000000001; related 00000000-0000-0000-0000-000000000002;"
        " user S-1-5-18; session 1; stack 0xfffff80000001000 0x7ff012345678]"
    )
    (row,) = [json.loads(one) for one in run("dump", busy, "--jsonl", "--event", "=Hot")]
    assert (row["activity"], row["related_activity"]) == (str(uuid.UUID(int=1)), str(uuid.UUID(int=2)))
    assert (row["user"], row["session"], row["stack_match"]) == ("S-1-5-18", 1, 99)
    assert row["stack"] == [0xFFFFF80000001000, 0x7FF012345678]


@pytest.mark.parametrize(
    ("options", "ticks"),
    [
        (["--process", "44"], [2 * HZ]),
        (["--process", "44", "--process", "22"], [HZ, 2 * HZ]),
        (["--thread", "33"], [2 * HZ]),
        (["--processor", "1"], [1, HZ]),
        (["--processor", "1", "--process", "22"], [HZ]),
        (["--event", "cswitch", "--until", "0.000002"], [10]),
        (["--event", "5"], [2 * HZ]),
        (["--event", "nosuch"], []),
    ],
)
def test_dump_is_cut_by_process_thread_processor_and_event(
    busy: Path, run: Run, options: list[str], ticks: list[int]
) -> None:
    """One of each kind that is given must fit; names in any case, numbers as the header has them."""
    rows = [json.loads(line) for line in run("dump", busy, "--jsonl", *options)]
    assert [row["ticks"] - T for row in rows] == ticks


def test_local_time_is_the_same_moment(busy: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours ahead of UTC, in summer, where the reader is."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        (line,) = run("dump", busy, "--event", "5", "--local")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert line.startswith("      2.000000000  2022-06-18T06:26:42.0000000+02:00  cpu0")


def test_a_log_is_exported_as_comma_separated_values(busy: Path, run: Run, tmp_path: Path) -> None:
    """Every record with its times, names and values; a name that a spreadsheet would compute is quoted."""
    output = tmp_path / "busy.csv"
    assert run("export", busy, "--csv", "--output", output) == []
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert [row["event"] for row in rows] == ["Header", "DCStart", "CSwitch", "CSwitch", "'=Hot", "5/0"]
    assert rows[4] | {"values": json.loads(rows[4]["values"])} == {
        "seconds": "1.000000000",
        "time": "2022-06-18T04:26:41.0000000Z",
        "ticks": str(T + HZ),
        "processor": "1",
        "process": "22",
        "thread": "11",
        "provider": str(encoder.PROVIDER),
        "event": "'=Hot",
        "how": "tracelogging",
        "message": "",
        "values": {"seq": 7},
    }
    assert (rows[2]["process"], json.loads(rows[5]["values"])) == ("", {"payload": "7879"})
    with pytest.raises(UsageError, match="exists already"):
        run("export", busy, "--csv", "--output", output)


def test_a_log_is_exported_as_trace_events(busy: Path, run: Run) -> None:
    """Instants on their threads, the process's name, and what a processor ran between two switches."""
    document = json.loads("\n".join(run("export", busy, "--perfetto")))
    events = document["traceEvents"]
    assert {"ph": "M", "name": "process_name", "pid": 22, "args": {"name": "lab.exe"}} in events
    slices = [one for one in events if one["ph"] == "X"]
    assert [(one["name"], one["tid"], one["ts"], one["dur"]) for one in slices] == [
        ("thread 12", 0, 1.0, 0.0),
        ("thread 11", 0, 1.0, 2.0),
    ]
    (hot,) = [one for one in events if one["name"].endswith("=Hot")]
    assert (hot["ph"], hot["pid"], hot["tid"], hot["ts"]) == ("i", 22, 11, 1_000_000.0)
    assert hot["args"] == {"seq": 7, "processor": 1, "activity": str(uuid.UUID(int=1))}


def test_one_format_is_exported_at_a_time(busy: Path, run: Run, tmp_path: Path) -> None:
    """None and two are usage errors; so is a time line of a log without a clock."""
    for options in ([], ["--csv", "--perfetto"]):
        with pytest.raises(UsageError, match="one format at a time") as caught:
            run("export", busy, *options)
        assert "--perfetto or --csv" in caught.value.hint
    headless = tmp_path / "headless.etl"
    headless.write_bytes(encoder.buffer(encoder.event(T + 1)))
    with pytest.raises(UsageError, match="no time line") as caught:
        run("export", headless, "--perfetto")
    assert "--csv" in caught.value.hint
    assert len(run("export", headless, "--csv")) == 2


def test_the_projects_own_driver_needs_no_manifest(run: Run, tmp_path: Path) -> None:
    """Its manifest is known: an event of it has its name, its fields and its message."""
    (own,) = manifest.load(driver_folder() / "src" / "hpnotify.man")
    event = next(one for one in own.events.values() if one.fields)
    path = tmp_path / "own.etl"
    path.write_bytes(
        encoder.header_buffer()
        + encoder.buffer(
            encoder.event(
                T + 1,
                bytes(200),
                provider=uuid.UUID(bytes_le=own.guid),
                event_id=event.id,
                version=event.version,
            )
        )
    )
    (row,) = [json.loads(line) for line in run("dump", path, "--jsonl", "--provider", own.name)]
    assert (row["how"], row["event"], list(row["values"])) == (
        "manifest",
        event.name,
        [one.name for one in event.fields],
    )


def test_info_as_a_document_holds_account_and_session(log: Path, run: Run) -> None:
    """What a program needs to decide whether an absence proves anything."""
    document = json.loads("\n".join(run("info", log, "--json")))
    assert document["missing"] == ["the session lost 1 events"]
    assert document["session"]["clock"] == {
        "kind": "qpc",
        "hz": HZ,
        "start": T,
        "start_filetime": encoder.START_FILETIME,
    }
    assert document["account"]["records"] == 4


def test_the_rest_of_a_dump_is_dropped_when_its_reader_goes_away(tmp_path: Path) -> None:
    """``harness etl dump … | head`` ends soon, quietly and with 0."""
    path = tmp_path / "long.etl"
    rows = [encoder.event(T + number, b"x" * 100) for number in range(300)]
    path.write_bytes(
        encoder.header_buffer(size=65536)
        + b"".join(encoder.buffer(*rows, size=65536, sequence=number + 1) for number in range(100))
    )
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "etl", "dump", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert b"EventTrace/Header" in child.stdout.readline()
        child.stdout.close()
        errors = child.stderr.read()
        assert (child.wait(30), errors) == (0, b"")
