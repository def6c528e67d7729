# SPDX-License-Identifier: MIT
"""What follows from a failure: a second attempt or none, and which later boots are not worth trying."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness.contract.verdict import RunVerdict, Verdict
from harness.errors import (
    CommandRefused,
    FailureClass,
    GuestHang,
    HarnessError,
    InfrastructureError,
    MachineFailed,
    MissingPart,
    MonitorLost,
    UsageError,
)
from harness.run.failure import BootFailures, boot_failure, classify, second_attempt
from harness.run.operation import Quiesce
from harness.run.plan import MachineWishes, Plan
from harness.run.request import RunRequest

DIED = MachineFailed("QEMU died")
HUNG = GuestHang("nothing came")


def request(**fields: object) -> RunRequest:
    """A request whose machine tests vary."""
    plan = Plan(name="p", machine=MachineWishes(processors=fields.pop("processors", None)), do=[Quiesce()])  # type: ignore[arg-type]
    return RunRequest(plan=plan, runs=Path("runs"), cache=Path("cache"), argv=[], **fields)  # type: ignore[arg-type]


def verdict(word: Verdict, failure_class: str) -> RunVerdict:
    """A verdict without rules."""
    return RunVerdict(run="r", guest="twin", verdict=word, reasons=[], rules=[], failure_class=failure_class)


@pytest.mark.parametrize(
    ("word", "recorded", "error", "expected"),
    [
        (Verdict.HOLDS, "", None, None),
        (Verdict.UNKNOWN, "guest hang", HUNG, FailureClass.GUEST_HANG),
        (Verdict.UNKNOWN, "bug check", HUNG, FailureClass.BUG_CHECK),
        (Verdict.UNKNOWN, "unknown", DIED, FailureClass.INFRASTRUCTURE),
        (Verdict.VIOLATED, "contract", DIED, FailureClass.CONTRACT),
        (Verdict.UNKNOWN, "unknown", None, FailureClass.UNKNOWN),
    ],
)
def test_history_decides_who_is_to_blame(
    word: Verdict, recorded: str, error: HarnessError | None, expected: FailureClass | None
) -> None:
    """An error speaks for itself only where it could not be recorded, and never against a proved violation."""
    assert expected == classify(verdict(word, recorded), error)


@pytest.mark.parametrize("error", [DIED, MonitorLost("gone"), InfrastructureError("disk full")])
def test_infrastructure_gets_one_more_attempt(error: HarnessError) -> None:
    """The second attempt names the first, and there is no third."""
    again = second_attempt(request(seed=7), "run-1", error)
    assert again is not None
    assert (again.attempt, again.retry_of, again.seed) == (2, "run-1", 7)
    assert second_attempt(again, "run-2", error) is None


@pytest.mark.parametrize(
    "error",
    [
        None,
        HUNG,
        MissingPart("no QEMU"),
        UsageError("no slot 77"),
        CommandRefused("no", command="device_add", error_class="", description="no"),
        MachineFailed("QEMU died").of_plan(),
    ],
)
def test_nothing_else_is_tried_again(error: HarnessError | None) -> None:
    """What is missing, asked in vain or the guest's own is the same the next time."""
    assert second_attempt(request(), "run-1", error) is None


def failed(asked: RunRequest, stage: str, error: HarnessError = HUNG) -> BootFailures:
    """A session in which one boot failed."""
    failures = BootFailures()
    failures.note(boot_failure(asked, "run-1", stage, error))
    return failures


def test_failed_boot_speaks_against_the_same_machine_only() -> None:
    """The guest is tried again with other processors or another QEMU, and so is another guest."""
    failures = failed(request(), "boot")
    against = failures.against(request(seed=3))
    assert str(against) == "twin did not boot before (run run-1, stage boot): nothing came"
    others = [request(processors=4), request(qemu="/other"), request(kd="listen")]
    assert [failures.against(other) for other in others] == [None, None, None]


def test_missing_image_speaks_against_every_machine() -> None:
    """A guest whose image cannot be made boots nowhere; another guest is another matter."""
    failures = failed(request(), "image")
    assert failures.against(request(processors=4)) is not None
    assert failures.of("windows-server-2025", "") is None


@pytest.mark.parametrize("stage", ["lease", "driver", "plan", "accelerator"])
def test_other_stages_say_nothing_about_the_next_boot(stage: str) -> None:
    """A busy host, a driver that does not load, an operation that fails: the guest boots all the same."""
    assert failed(request(), stage).against(request()) is None


def test_first_failure_is_kept() -> None:
    """The cause is named, not its consequences."""
    failures = failed(request(), "boot")
    later = boot_failure(request(), "run-9", "boot", DIED)
    failures.note(later)
    against = failures.against(request())
    assert against is not None
    assert against.run == "run-1"


def test_requests_differ_by_their_plan_not_in_their_machine() -> None:
    """Two plans that want the same machine share its fate."""
    failures = failed(request(), "qemu", DIED)
    other = dataclasses.replace(request(), plan=Plan(name="other", do=[Quiesce(), Quiesce()]))
    assert failures.against(other) is not None


def test_what_a_plan_asked_for_says_nothing_about_the_next_boot() -> None:
    """Another plan may ask for less of the same machine."""
    died = MachineFailed("QEMU died")
    assert boot_failure(request(), "run-1", "qemu", died) is not None
    assert boot_failure(request(), "run-1", "qemu", died.of_plan()) is None
