# SPDX-License-Identifier: MIT
"""The state of a build moves forward only, whatever a guest says; every stage and symptom has a likely diagnosis."""

from __future__ import annotations

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.template.diagnosis import Symptom, diagnose, sentence
from harness.template.progress import COPYING_WRITTEN, MOST_FACTS, WINPE_READ, BuildPosition, BuildProgress
from harness.template.serial_markers import (
    DoneMarker,
    FactMarker,
    FailMarker,
    SerialMarker,
    StageMarker,
    StepMarker,
)
from harness.template.stage import ORDER, SHOWN, BuildStage

MARKERS = st.one_of(
    st.builds(StageMarker, st.sampled_from([*ORDER, "nosuch"])),
    st.builds(
        lambda number, more: StepMarker(number, number + more, "a"), st.integers(1, 9), st.integers(0, 9)
    ),
    st.builds(FactMarker, st.text("abc", min_size=1, max_size=3), st.text("abc", max_size=3)),
    st.just(DoneMarker()),
)


@settings(max_examples=examples(50))
@given(st.lists(MARKERS | st.sampled_from(["reset", "read", "written"]), max_size=40))
def test_a_build_never_goes_back(happenings: list[SerialMarker | str]) -> None:
    """Whatever happens in whatever order, the place reached only grows, and done needs the done marker."""
    progress, done = BuildProgress(), False
    for happening in happenings:
        before = progress.reached.order
        if happening == "reset":
            moved = progress.reset()
        elif happening == "read":
            moved = progress.counted(read=WINPE_READ, written=0)
        elif happening == "written":
            moved = progress.counted(read=0, written=COPYING_WRITTEN)
        else:
            moved = progress.take(happening)  # type: ignore[arg-type]
        done = done or isinstance(happening, DoneMarker)
        assert moved == (progress.reached.order > before)
        assert progress.reached.order >= before
        assert progress.done == done


def test_the_first_restart_after_copying_begins_specialize() -> None:
    """And a restart anywhere else only counts."""
    progress = BuildProgress()
    progress.take(StageMarker("winpe"))
    assert (False, 1) == (progress.reset(), progress.resets)
    progress.take(StageMarker("copying"))
    assert (True, BuildStage.SPECIALIZE, 0) == (progress.reset(), progress.reached.stage, progress.resets)


def test_counters_stand_in_for_marks_that_never_come() -> None:
    """What is read from the medium tells of WinPE, what is written to the disk of copying, one after the other."""
    progress = BuildProgress()
    assert not progress.counted(read=WINPE_READ - 1, written=COPYING_WRITTEN)
    assert progress.counted(read=WINPE_READ, written=0)
    assert progress.counted(read=WINPE_READ, written=COPYING_WRITTEN)
    assert BuildStage.COPYING == progress.reached.stage


@pytest.mark.parametrize(
    ("reached", "began_again"),
    [(BuildStage.COPYING, False), (BuildStage.SPECIALIZE, True), (BuildStage.PROVISIONING, True)],
)
def test_a_medium_that_is_started_twice_is_noticed(reached: BuildStage, began_again: bool) -> None:
    """WinPE after a stage that runs from the disk means that Setup began again."""
    progress = BuildProgress(BuildPosition(reached))
    progress.take(StageMarker("winpe"))
    assert began_again == progress.began_again


def test_the_first_failure_counts() -> None:
    """A failed step is kept with the guest's message, and the step it was."""
    progress = BuildProgress()
    progress.take(FailMarker(3, 12, "winrm", "first"))
    progress.take(FailMarker(4, 12, "other", "second"))
    assert ("first", 4) == (progress.failure and progress.failure.message, progress.reached.number)


def test_a_guest_cannot_tell_facts_without_end() -> None:
    """Past the bound new facts are dropped, known ones still change."""
    progress = BuildProgress()
    for number in range(MOST_FACTS + 5):
        progress.take(FactMarker(f"fact-{number}", "a"))
    progress.take(FactMarker("fact-0", "b"))
    assert (MOST_FACTS, "b") == (len(progress.facts), progress.facts["fact-0"])


@pytest.mark.parametrize("stage", list(BuildStage))
@pytest.mark.parametrize("symptom", list(Symptom))
def test_every_symptom_has_a_diagnose(stage: BuildStage, symptom: Symptom) -> None:
    """The table is complete, and the sentence names the stage as people know it."""
    diagnosis = diagnose(stage, symptom)
    assert diagnosis.likely
    assert diagnosis.advice.endswith(".")
    assert SHOWN[stage] in sentence(stage, symptom)


def test_steps_have_limits_of_their_own_in_words() -> None:
    """A place inside provisioning names its step."""
    assert (
        "provisioning, step 3 of 12 (winrm)" == BuildPosition(BuildStage.PROVISIONING, 3, 12, "winrm").words()
    )
