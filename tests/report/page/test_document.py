# SPDX-License-Identifier: MIT
"""The document of a report: what is at fault, where records stand, what is missing, what is left out, and that it is harmless."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli.test_check import record
from effort import examples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from report.records import ANY_RECORD, Run, hot_add

from harness.contract.checker import judge_history
from harness.history import driver as d
from harness.history import record as r
from harness.history.reader import History
from harness.report.escape import printable
from harness.report.page.document import ReportInput, report_document
from harness.report.page.html import page
from harness.report.page.kept import LIMIT
from tests.recorded.kept import RUNS

NEWEST = RUNS / "03691fe"


def document(path: Path, *, limit: int = LIMIT) -> dict[str, Any]:
    """Return the document of a run as a page reads it."""
    history = History(path)
    given = ReportInput(history=history, verdict=judge_history(history), limit=limit)
    found: dict[str, Any] = json.loads(msgspec.json.encode(report_document(given)))
    return found


@cache
def kept_document(run: str) -> dict[str, Any]:
    """Return the document of a kept run, which nobody changes."""
    return document(NEWEST / run)


def rows(told: dict[str, Any]) -> list[tuple[int, int, str, str]]:
    """Return each record: its number, its place in ns, its lane and its sentence."""
    texts = [text for piece in told["pieces"] for text, _ in json.loads(gzip.decompress(b64decode(piece)))]
    columns = told["records"]
    lanes = [told["lanes"][lane]["key"] for lane in columns["lane"]]
    return list(zip(accumulate(columns["n"]), accumulate(columns["t"]), lanes, texts, strict=True))


def test_a_holding_run_has_every_record_in_a_lane(tmp_path: Path) -> None:
    """Each record is there once, with its sentence; the lanes stand in their order."""
    run = hot_add()
    told = document(record(tmp_path / "run", run.records))
    assert ["holds", "twin", "says nothing about Windows itself"] == [
        told["verdict"], told["guest"], told["worth"],
    ]  # fmt: skip
    assert [one.n for one in run.records] == [number for number, *_ in rows(told)]
    assert ["stages", "host", "qmp", "firmware", "driver", "cpu:0", "user", "capture"] == [
        lane["key"] for lane in told["lanes"]
    ]
    assert "Complete NtNumber=2 (group 0, number 2), 3 active, IRQL 0, CPU 0" in [
        row[3] for row in rows(told)
    ]


def test_zero_is_the_first_add(tmp_path: Path) -> None:
    """Times are in nanoseconds from it, before and after."""
    told = document(record(tmp_path / "run", hot_add().records))
    times = {sentence: at for _, at, _, sentence in rows(told)}
    assert [-99_000_000, 0, 40_000_000] == [
        times["boot 1 (power-on)"],
        next(at for text, at in times.items() if text.startswith("add cpu-1: processor")),
        next(at for text, at in times.items() if text.startswith("_OST")),
    ]


def test_a_callback_lasts_as_long_as_the_guest_says(tmp_path: Path) -> None:
    """The driver's records came late and together; their distance is that of the guest's counter."""
    run = Run()
    run.add(0, r.Header(format=1, harness="0", run="r", guest="twin", wall=""))
    run.hello(10)
    run.sync(20, d.START, 2, active=2, took=3)
    late = [
        msgspec.structs.replace(one, host_ns=10**12 + 500_000_000)
        if isinstance(one, d.SyncEnter | d.SyncExit)
        else one
        for one in run.records
    ]
    told = document(record(tmp_path / "run", late))
    (span,) = (span for span in told["spans"] if span[6] == "start")
    assert [3_000_000, "Start 2"] == [span[2] - span[1], span[5]]


def test_a_record_never_stands_after_it_was_received(tmp_path: Path) -> None:
    """Whatever the guest's counter says."""
    run = Run()
    run.add(0, r.Header(format=1, harness="0", run="r", guest="twin", wall=""))
    run.hello(10)
    run.sync(20, d.START, 2, active=2, took=3)
    odd = [
        msgspec.structs.replace(one, qpc=one.qpc * 50) if isinstance(one, d.SyncExit) else one
        for one in run.records
    ]
    told = document(record(tmp_path / "run", odd))
    received = {one.n: one.host_ns - 10**12 for one in odd}
    assert all(at <= received[number] for number, at, *_ in rows(told))


def test_a_stretch_of_the_counter_ends_where_the_guest_stands_still(tmp_path: Path) -> None:
    """After RESUME the counter, which stood, moves nothing before the pause."""
    run = Run()
    run.add(0, r.Header(format=1, harness="0", run="r", guest="twin", wall=""))
    run.hello(10)
    run.sync(20, d.START, 2, active=2)
    run.add(30, r.Qmp(direction="in", message={"event": "STOP"}))
    run.add(5000, r.Qmp(direction="in", message={"event": "RESUME"}))
    run.sync(5010, d.COMPLETE, 2, active=3)
    stood = [
        msgspec.structs.replace(one, qpc=one.qpc - 49_700_000)
        if isinstance(one, d.SyncEnter | d.SyncExit) and one.state == d.COMPLETE
        else one
        for one in run.records
    ]
    told = document(record(tmp_path / "run", stood))
    (span,) = (span for span in told["spans"] if span[6] == "complete")
    assert 5_010_000_000 == span[1]


@pytest.mark.parametrize(
    ("run", "verdict", "rule", "fault", "named"),
    [
        (
            "twin-violated",
            "violated",
            "SYNC-EXACTLY-TWO",
            "processor change callback, Start for processor 2",
            3,
        ),
        ("twin-unknown", "unknown", "CAP-NO-LOSS", "what was captured of driver hpnotify", 1),
        ("twin-hangs", "unknown", "RUN-COMPLETE", "operation 1", 1),
    ],
)
def test_what_decided_comes_first(run: str, verdict: str, rule: str, fault: str, named: int) -> None:
    """The first finding has the rule, its records and what is at fault."""
    told = kept_document(run)
    first = told["findings"][0]
    assert [verdict, rule, True, named] == [
        told["verdict"], first["rule"], first["fault"].startswith(fault), len(first["witnesses"]),
    ]  # fmt: skip
    sentences = {number: sentence for number, _, _, sentence in rows(told)}
    for witness in first["witnesses"]:
        assert witness["text"] == sentences[witness["record"]] or witness["text"].startswith("missing")


def test_a_failed_run_names_its_stage() -> None:
    """With the class, the message and the record that says so."""
    failure = kept_document("twin-hangs")["failure"]
    assert ["plan", ["waited 0.5 s for 9 ost, seen 0"], "fault"] == [
        failure["stage"],
        failure["message"],
        "fault" if "ended early in stage plan" in failure["witnesses"][-1]["text"] else failure["witnesses"],
    ]


def test_missing_numbers_are_a_gap() -> None:
    """A record of the driver that never arrived leaves a stretch between its neighbours."""
    gaps = kept_document("twin-unknown")["gaps"]
    assert ["1 records of hpnotify are missing: #31", True] == [gaps[0][2], gaps[0][0] <= gaps[0][1]]


def test_a_history_that_is_cut_says_where(tmp_path: Path) -> None:
    """The end of what could be read is a gap too."""
    run = record(tmp_path / "run", hot_add().records)
    with (run / "history.jsonl").open("ab") as file:
        file.write(b'{"k":"end"')
    told = document(run)
    assert ["is cut off" in told["history"]["damage"], "the history ends here" in told["gaps"][-1][2]] == [
        True,
        True,
    ]


def test_known_orders_have_reasons(tmp_path: Path) -> None:
    """A reply follows its command, an effect its device's command, a return its entry."""
    told = document(record(tmp_path / "run", hot_add().records))
    sentences = {number: sentence for number, _, _, sentence in rows(told)}
    known = {(sentences[a][:22], sentences[b][:22], why) for a, b, why in told["order"]}
    assert {
        ("device_add id=hp-cpu-1", "device_add: ok", "reply"),
        ("device_add id=hp-cpu-1", "_OST CPU slot 2 (hp-cp", "causality"),
        ("Start NtNumber=2 (grou", "Start NtNumber=2 retur", "call"),
    } <= known
    assert {why for *_, why in told["order"]} <= set(told["order_reasons"])


def long_run(count: int) -> Run:
    """A run with ``count`` callbacks of which the one in the middle has no Start."""
    run = hot_add(start=False)
    for number in range(count):
        run.driver(300 + number, d.Work, nt=0, done=number)
    return run


def test_of_a_long_history_the_page_keeps_what_the_verdict_needs(tmp_path: Path) -> None:
    """It holds no more than its limit, each record that a finding names, and counts what it leaves out."""
    path = record(tmp_path / "run", long_run(1500).records)
    whole, told = document(path), document(path, limit=700)
    kept = {number for number, *_ in rows(told)}
    needed = {witness["record"] for finding in told["findings"] for witness in finding["witnesses"]}
    assert needed
    assert [True, True, whole["history"]["records"]] == [
        needed <= kept,
        len(kept) <= 700,
        len(kept) + sum(count for _, count in told["history"]["left_out"]),
    ]
    assert [] == whole["history"]["left_out"]
    assert whole["findings"] == told["findings"]


def test_a_callback_that_is_kept_keeps_its_return(tmp_path: Path) -> None:
    """No half spans are made by leaving out."""
    run = hot_add()
    for number in range(800):
        run.sync(300 + 2 * number, d.START, 3, active=3)
    told = document(record(tmp_path / "run", run.records), limit=500)
    starts = [span for span in told["spans"] if span[6] == "start"]
    kept = {number for number, *_ in rows(told)}
    assert 50 < len(starts) < 400
    assert all(span[4] in kept for span in starts)


def strings(value: Any) -> list[str]:
    """Return every string in a document, keys too."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in strings(one)]
    return [text for one in value for text in strings(one)] if isinstance(value, list) else []


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=examples(30),
)
@given(st.lists(ANY_RECORD, max_size=24))
@example([r.Qmp(direction="in", message={"event": []}, monitor=1, host_ns=0)])
def test_no_history_breaks_a_report(
    tmp_path_factory: pytest.TempPathFactory, records: list[r.Record]
) -> None:
    """Whatever a guest, a monitor or a forger wrote: a page is made, and every text in it is printable."""
    run = hot_add()
    file = tmp_path_factory.mktemp("any") / "history.jsonl"
    lines = [
        msgspec.json.encode(msgspec.structs.replace(one, n=number, host_ns=clamped(one.host_ns)))
        for number, one in enumerate([*run.records[:6], *(fitting(one) for one in records)], 1)
    ]
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    told = document(file)
    texts = strings({**told, "pieces": []}) + [row[3] for row in rows(told)]
    assert [] == [text for text in texts if text != printable(text, len(text))]
    assert page(told).startswith(b"<!doctype html>")


def clamped(value: int) -> int:
    return max(-(1 << 63), min(value, (1 << 63) - 1))


def fitting(one: r.Record) -> r.Record:
    """Return a record whose numbers fit into a line that this library writes."""
    changes = {
        name: clamped(value)
        for name in one.__struct_fields__
        if isinstance(value := getattr(one, name), int) and not isinstance(value, bool)
    }
    made = msgspec.structs.replace(one, **changes)
    try:
        msgspec.json.encode(made)
    except (OverflowError, UnicodeEncodeError):
        return r.Boot(epoch=1, cause="power-on")
    return made
