# SPDX-License-Identifier: MIT
"""``harness etl``: what it prints of a log, to people and to programs."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import etl
from harness.errors import UsageError
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
    app = typer.Typer()
    etl.register(app)

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
    ]


def test_dump_prints_records_in_time_order_and_escapes_them(log: Path, run: Run, tmp_path: Path) -> None:
    """Time since the start, processor, process and thread, names and values; nothing a terminal would obey."""
    man = tmp_path / "lab.man"
    man.write_text(MANIFEST, encoding="utf-8")
    lines = run("dump", log, "--manifest", man, "--since", "0.5")
    assert lines == [
        "      1.000000000  cpu1        22:11      Lab.Trace/Hot\\x1b[2J  seq=7",
        "      2.000000000  cpu0                   DbgPrint/Message  Component=77  Level=0  Message=hello",
        "      3.000000000  cpu1        22:11      Lab-Driver/Sync/Enter  CPU is starting (One|Four|0x8), 100% by hpn\\x0a%99",
    ]


def test_dump_of_what_cannot_be_decoded_shows_its_bytes(log: Path, run: Run) -> None:
    """Without the manifest the event has provider, id, version and payload."""
    (line,) = run("dump", log, "--provider", f"{{{str(GUID).upper()}}}")
    assert line == (
        f"      3.000000000  cpu1        22:11      {GUID}/1/2  {len(PAYLOAD)} bytes {PAYLOAD[:64].hex()}"
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
    with pytest.raises(UsageError, match="--since 'noon' is no time") as caught:
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
