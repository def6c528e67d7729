# SPDX-License-Identifier: MIT
"""Transcripts leave out what must differ between guests, and a comparison finds what must not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.records import ANY_RECORD, Run, hot_add

from harness.cli.main import main
from harness.errors import ExitCode, UsageError
from harness.history import driver as d
from harness.history import record as r
from harness.history.record import Record
from harness.history.writer import HistoryWriter
from harness.report.style import Style
from harness.report.transcript import FIRMWARE, ORDER, QEMU, Transcript, TranscriptReader
from harness.report.transcript_comparison import compare_transcripts, transcript_lines


def transcript(records: list[Record], *, guest: str = "twin", damage: str = "") -> Transcript:
    """Return what the records tell."""
    reader = TranscriptReader("r1", guest)
    for record in records:
        reader.take(record)
    return reader.finish(damage)


def changed(change: Callable[[Record], Record | None]) -> list[Record]:
    """Return the records of a hot-add, each changed or, for None, left out."""
    return [new for record in hot_add().records if (new := change(record)) is not None]


def elsewhere(record: Record) -> Record:
    """The same record from another guest: other clocks, threads, addresses, boot nonce."""
    if not isinstance(record, d.DriverRecord):
        return msgspec.structs.replace(record, host_ns=record.host_ns + 7)
    other = msgspec.structs.replace(
        record, qpc=record.qpc * 3, boot="ffff", thread=99, cpu=1, maximum=64, host_ns=record.host_ns * 2
    )
    return msgspec.structs.replace(other, ctx=77) if isinstance(other, d.SyncEnter) else other


def process(record: Record) -> Record | None:
    """The same record from a guest whose machine is a process."""
    if isinstance(record, r.Agreement):
        return msgspec.structs.replace(record, qemu_lists=False, ost=[], unshown=["qemu", "ost"])
    return None if isinstance(record, r.Ost | r.Qmp) else elsewhere(record)


def test_what_must_differ_is_left_out() -> None:
    """Clocks, nonces, threads, addresses and the processor a callback ran on make no difference."""
    here, there = transcript(hot_add().records), transcript(changed(elsewhere))
    assert here.stories == there.stories
    compared = compare_transcripts([here, there])
    assert ("agree", [], ExitCode.HOLDS) == (compared.verdict, compared.differences, compared.exit_code)
    assert ["Start of processor 2", "Complete of processor 2"] == next(
        story for name, story in here.stories.items() if name.endswith(ORDER)
    )


def test_what_a_machine_cannot_show_is_not_held_against_it() -> None:
    """A process has no QEMU and no firmware: those stories are not compared, the others are, and it is said."""
    here, there = transcript(hot_add().records), transcript(changed(process), guest="host")
    assert {QEMU, FIRMWARE} == there.unshown
    compared = compare_transcripts([here, there])
    assert "agree" == compared.verdict
    text = "\n".join(transcript_lines([here, there], compared, Style(colour=False)))
    assert f"B  {QEMU}, {FIRMWARE}" in text
    assert "host: says nothing about Windows itself" in text


def test_services_are_called_by_their_order_and_devices_may_be_absent() -> None:
    """The same driver under another service name tells the same; a device that one guest lacks is named and not missed."""

    def renamed(record: Record) -> Record:
        return (
            msgspec.structs.replace(record, driver="other") if isinstance(record, d.DriverRecord) else record
        )

    run = hot_add()
    run.driver(203, d.PnpEnter, device="PCI#2", minor="START")
    here, there = transcript(run.records), transcript(changed(renamed))
    compared = compare_transcripts([here, there])
    assert [] == compared.differences
    assert "  B  the device PCI#2" in list(transcript_lines([here, there], compared, Style(colour=False)))


def _without_start(record: Record) -> Record | None:
    gone = isinstance(record, d.SyncEnter | d.SyncExit) and record.state == d.START
    return None if gone else record


def _raised(record: Record) -> Record:
    raised = isinstance(record, d.SyncEnter) and record.state == d.START
    return msgspec.structs.replace(record, irql=2) if raised else record


def _vetoed(record: Record) -> Record:
    vetoed = isinstance(record, d.SyncExit) and record.state == d.START
    return msgspec.structs.replace(record, op=0xC000009A) if vetoed else record


def _unanswered(record: Record) -> Record:
    return msgspec.structs.replace(record, ost=[]) if isinstance(record, r.Agreement) else record


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_raised, "IRQL 2"),
        (_vetoed, "a veto"),
        (_unanswered, "no success"),
    ],
)
def test_a_difference_is_found(change: Callable[[Record], Record | None], words: str) -> None:
    """A step that differs is told once, with what each run says."""
    runs = [transcript(hot_add().records), transcript(changed(change)), transcript(changed(elsewhere))]
    compared = compare_transcripts(runs)
    assert (ExitCode.VIOLATED, 1) == (compared.exit_code, len(compared.differences))
    said = compared.differences[0].said
    assert said[0] == said[2] != said[1]
    assert words in str(said[1])
    lines = list(transcript_lines(runs, compared, Style(colour=False)))
    assert [line[:9] for line in lines if "  A, C  " in line] == ["  A, C  " + str(said[0])[0]]


def test_a_missing_callback_is_a_difference_only_if_nothing_was_lost() -> None:
    """Without its Start a run differs; if the driver's numbers show that records are missing, nobody can tell."""
    whole = hot_add().records
    renumbered: list[Record] = []
    for record in changed(_without_start):
        seq = 1 + sum(isinstance(one, d.DriverRecord) for one in renumbered)
        renumbered.append(
            msgspec.structs.replace(record, seq=seq) if isinstance(record, d.DriverRecord) else record
        )
    assert "differ" == compare_transcripts([transcript(whole), transcript(renumbered)]).verdict
    with_gap = transcript(changed(_without_start))
    assert with_gap.lossy
    assert "unknown" == compare_transcripts([transcript(whole), with_gap]).verdict


def test_a_run_that_ends_early_must_agree_as_far_as_it_goes() -> None:
    """What is there is compared; what is not there proves nothing."""
    whole = hot_add().records
    complete = next(
        n for n, one in enumerate(whole) if isinstance(one, d.SyncEnter) and one.state == d.COMPLETE
    )
    early = transcript(whole[:complete])
    compared = compare_transcripts([transcript(whole), early])
    assert (True, "unknown", ExitCode.UNKNOWN) == (early.cut, compared.verdict, compared.exit_code)
    wrong = transcript([_raised(record) for record in whole[:complete]])
    assert "differ" == compare_transcripts([transcript(whole), wrong]).verdict


def test_runs_of_different_plans_are_refused() -> None:
    """What was asked for must be the same before what came of it can be compared."""
    first = r.OperationProgress(index=1, name="add-cpu", phase="begin")
    other = r.OperationProgress(index=1, name="add-dimm", phase="begin", arguments={"size": "1 GiB"})
    end = r.End(outcome="completed")
    with pytest.raises(UsageError, match=r"different plans: operation 1 .*add-dimm size.*add-cpu"):
        compare_transcripts([transcript([first, end]), transcript([other, end])])


@given(st.lists(ANY_RECORD, max_size=12))
def test_any_records_can_be_compared(records: list[Record]) -> None:
    """Whatever a history holds, it tells the same as itself, in lines that a terminal can show."""
    one = transcript(records)
    compared = compare_transcripts([one, one])
    assert [] == compared.differences
    assert all(line.isprintable() for line in transcript_lines([one, one], compared, Style(colour=False)))


def _recorded(folder: Path, run: Run | list[Record]) -> str:
    folder.mkdir()
    with HistoryWriter(folder / "history.jsonl") as writer:
        for record in run if isinstance(run, list) else run.records:
            writer.write(record)
    return str(folder)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 0 for an agreement and 1 for a difference; one run alone is wrong usage."""
    here = _recorded(tmp_path / "here", hot_add())
    there = _recorded(tmp_path / "there", changed(elsewhere))
    wrong = _recorded(tmp_path / "wrong", changed(_raised))
    assert ExitCode.HOLDS == main(["diff", here, there])
    assert "THEY AGREE" == capsys.readouterr().out[:10]
    assert ExitCode.VIOLATED == main(["diff", here, there, wrong, "--json"])
    document = msgspec.json.decode(capsys.readouterr().out)
    assert ("differ", 1) == (document["verdict"], document["differences"][0]["step"])
    assert ExitCode.USAGE == main(["diff", here])
