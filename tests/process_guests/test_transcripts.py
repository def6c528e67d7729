# SPDX-License-Identifier: MIT
"""The same plan in a process, on the twin and in Wine: what they tell agrees, up to what each cannot show."""

from __future__ import annotations

import pytest
from process_guests.conftest import Perform
from twin.running import plan_of

from harness.report.transcript import FIRMWARE, QEMU, Transcript, read_transcript
from harness.report.transcript_comparison import TranscriptComparison, compare_transcripts
from harness.run.run import RunResult

LIFE = plan_of(
    """
[[do]]
op = "add-cpu"
slot = 4
[[do]]
op = "veto-next"
[[do]]
op = "add-cpu"
expect = "vetoed"
[[do]]
op = "add-dimm"
size = "256 MiB"
[[do]]
op = "pause"
[[do]]
op = "add-cpu"
settle = false
[[do]]
op = "add-cpu"
settle = false
[[do]]
op = "resume"
[[do]]
op = "settle"
[[do]]
op = "unload-driver"
[[do]]
op = "load-driver"
add_existing = false
[[do]]
op = "add-dimm"
size = "128 MiB"
[[do]]
op = "unload-driver"
"""
)
"""Everything that happens to a driver: adds, a veto, memory, a burst, unloading, and loading the other way."""


def compared(*results: RunResult) -> tuple[list[Transcript], TranscriptComparison]:
    """Return what whole runs tell and how it compares."""
    transcripts = [read_transcript(result.directory) for result in results]
    assert [[]] * len(results) == [one.missing for one in transcripts]
    return transcripts, compare_transcripts(transcripts)


@pytest.mark.qemu
@pytest.mark.wine
@pytest.mark.host
def test_host_twin_and_wine_tell_the_same(perform_on: Perform) -> None:
    """One plan, three guests, one transcript: the processes have no QEMU and no firmware, and differ in nothing else."""
    transcripts, found = compared(
        perform_on(LIFE, "host"), perform_on(LIFE, "twin", accelerator="tcg"), perform_on(LIFE, "wine")
    )
    assert ("agree", []) == (found.verdict, found.differences)
    assert [{QEMU, FIRMWARE}, set(), {QEMU, FIRMWARE}] == [one.unshown for one in transcripts]
    assert found.steps > 100


@pytest.mark.host
@pytest.mark.parametrize(
    ("fault", "story"),
    [
        ("duplicate-start", "processor 2"),
        ("complete-uncounted", "processor 2"),
        ("async-before-start", "arrivals"),
        ("existing-interleaved", "order of callbacks"),
    ],
)
def test_a_injected_difference_is_found(perform_on: Perform, fault: str, story: str) -> None:
    """A guest that behaves otherwise tells another story, and the comparison names it."""
    _, found = compared(
        perform_on("cpu-and-dimm", "host"), perform_on("cpu-and-dimm", "host", inject_fault=fault)
    )
    assert "differ" == found.verdict
    assert [] != [difference for difference in found.differences if difference.story.endswith(story)]
