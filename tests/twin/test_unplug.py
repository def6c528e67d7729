# SPDX-License-Identifier: MIT
"""Requests to give a device back, on the twin with QEMU alone: each outcome, its faults, and what may be used again."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from part_markers import needs
from twin.running import Perform, plan_of, records_of, run_here

from harness.contract.verdict import Verdict
from harness.errors import ExitCode, FailureClass
from harness.guest.fault_injection import UNPLUG_FAULTS
from harness.history import record as r
from harness.run.operation import Unplug
from harness.run.plan import find_plan
from harness.run.request import RunRequest
from harness.run.run import RunResult, perform
from harness.setup.cache import cache_directory

pytestmark = pytest.mark.qemu

DIMM = '[[do]]\nop = "add-dimm"\nid = "m"\nsize = "128 MiB"\n'
CPU = '[[do]]\nop = "add-cpu"\nid = "c"\n'


def settled(result: RunResult) -> list[tuple[str, str, str]]:
    """Return device, expected and actual outcome of each request."""
    return [
        (one.device, one.expected, one.outcome)
        for one in records_of(result)
        if isinstance(one, r.Removal) and one.phase == "settled"
    ]


def agreements(result: RunResult) -> list[r.Agreement]:
    """Return the agreements on requests to give a device back."""
    return [
        one for one in records_of(result) if isinstance(one, r.Agreement) and one.attempt.startswith("unplug")
    ]


@pytest.fixture(scope="module")
@needs("qemu")
def given_back(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """The plan ``unplug``, run once for all tests that look at it."""
    return perform(
        RunRequest(
            plan=find_plan("unplug"),
            runs=tmp_path_factory.mktemp("unplug"),
            cache=cache_directory(os.environ),
            argv=["test"],
            accelerator="tcg",
            restore=True,
        )
    )


def check_agreed(result: RunResult, outcomes: list[tuple[str, str, str]]) -> None:
    """QEMU, the firmware and the guest agree on the outcomes, and no rule has anything against it."""
    assert (result.error, result.verdict.verdict, result.verdict.reasons) == (None, Verdict.HOLDS, [])
    assert settled(result) == outcomes
    assert [(one.agreed, one.detail) for one in agreements(result)] == [(True, "")] * len(outcomes)


def test_both_are_given_back(given_back: RunResult) -> None:
    """A DIMM and a processor: all agree that each is gone."""
    check_agreed(given_back, [("guest-dimm", "gone", "gone"), ("guest-cpu", "gone", "gone")])


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("unplug-refused", [("guest-cpu", "refused", "refused"), ("guest-dimm", "refused", "refused")]),
        ("unplug-ignored", [("guest-cpu", "ignored", "ignored"), ("guest-dimm", "kept", "ignored")]),
        ("unplug-late", [("guest-dimm", "gone", "gone")]),
    ],
)
def test_each_outcome_is_agreed_on(
    perform_restored: Perform, name: str, outcomes: list[tuple[str, str, str]]
) -> None:
    """Refused, ignored and late: all agree on each."""
    check_agreed(perform_restored(name), outcomes)


def test_what_is_gone_is_less_in_three_places(given_back: RunResult) -> None:
    """QEMU does not list it, _OST reports the ejection, and the guest counts less: one processor, a DIMM's bytes."""
    dimm, cpu = agreements(given_back)
    assert (dimm.qemu_lists, cpu.qemu_lists) == (False, False)
    assert (3, 0) == dimm.ost[-1] == cpu.ost[-1]
    assert (cpu.counted_before, cpu.counted_after) == (3, 2)
    assert (dimm.counted_before - dimm.counted_after) >> 20 == 256


def test_the_reason_of_a_refusal_is_the_firmware_s(perform_restored: Perform) -> None:
    """Another reason than the plan expects is no agreement: _OST said 0x80, which is not busy."""
    refusing = '[[do]]\nop = "answer-unplugs"\nby = "refuse"\n'
    plan = plan_of(
        f'{DIMM}{refusing}[[do]]\nop = "unplug"\ndevice = "m"\nexpect = "refused"\nreason = "busy"\n'
    )
    result = perform_restored(plan)
    (one,) = agreements(result)
    assert one.ost == [(3, 0x80)]
    assert "as not-supported, expected as busy" in one.detail
    assert result.verdict.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("name", "wait", "outcome", "words"),
    [
        ("unplug-refused", 15.0, "refused", "the guest refused it as not-supported"),
        ("unplug-ignored", 3.0, "ignored", "no answer came in time"),
        ("unplug-slow", 3.0, "ignored", "no answer came in time"),
    ],
)
def test_a_fault_is_caught(
    perform_restored: Perform, name: str, wait: float, outcome: str, words: str
) -> None:
    """The run is unknown, says what the guest did, and the next use of the id says that it is still there."""
    fault = UNPLUG_FAULTS[name]
    plan = find_plan(fault.plan)
    # An answer that comes is waited for as long as the plan says, and one that never comes in this time for less.
    steps = [
        msgspec.structs.replace(one, timeout=wait) if isinstance(one, Unplug) else one for one in plan.do
    ]
    result = perform_restored(msgspec.structs.replace(plan, do=steps), inject_fault=name)
    (one,) = agreements(result)
    assert (one.agreed, f"QEMU still lists the device, and {words}" in one.detail) == (False, True)
    assert settled(result) == [("guest-dimm", "gone", outcome)]
    assert (fault.verdict, result.exit_code) == (result.verdict.verdict, ExitCode.UNKNOWN)
    assert fault.rule in {finding.rule for finding in result.verdict.findings}
    assert result.error is not None
    assert "'guest-dimm' is still there: after unplug-1, " in result.error.message


def test_what_was_refused_may_be_given_back_later(perform_restored: Perform) -> None:
    """A second request is another one, and the id and the slot are free after it."""
    answer = '[[do]]\nop = "answer-unplugs"\nby = "{}"\n'
    unplug = '[[do]]\nop = "unplug"\ndevice = "m"\n'
    plan = plan_of(
        DIMM + answer.format("refuse") + unplug + 'expect = "refused"\n' + answer.format("give") + unplug + DIMM
        + '[[do]]\nop = "expect"\ndimms = 1\nmemory_arrivals = 2\n'
    )  # fmt: skip
    result = perform_restored(plan)
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)
    assert [outcome for _, _, outcome in settled(result)] == ["refused", "gone"]


@pytest.mark.parametrize(
    "after",
    [CPU + "slot = 2\n", '[[do]]\nop = "add-cpu"\n', DIMM, '[[do]]\nop = "reset"\n'],
    ids=["same-slot", "other-slot", "dimm", "reset"],
)
def test_qemu_7_2_under_tcg_dies_of_a_change_after_a_processor_left(
    perform_restored: Perform, after: str
) -> None:
    """Said before the boot, as the infrastructure's, with the version: QEMU never starts."""
    result = perform_restored(plan_of(f'{CPU}[[do]]\nop = "unplug"\ndevice = "c"\n{after}'))
    version = next(
        (one.detail for one in records_of(result) if isinstance(one, r.Stage) and one.name == "qemu"), ""
    )
    if result.error is None and "7.2" not in version:
        pytest.skip("this QEMU is not 7.2")
    assert result.error is not None
    assert (result.error.exit_code, result.failure_class) == (69, FailureClass.INFRASTRUCTURE)
    assert result.error.message.startswith("QEMU 7.2")
    assert "under TCG dies of do[3] after a processor was taken out (by do[2])" in result.error.message
    assert "--accel kvm" in result.error.hint
    assert not (result.directory / "console.log").exists()


def test_qemu_7_2_is_not_asked_for_a_change_that_no_plan_foresaw(perform_restored: Perform) -> None:
    """The guest gave a processor back that the plan expects it to keep: the next add is not sent."""
    unplug = '[[do]]\nop = "unplug"\ndevice = "c"\nexpect = "refused"\n'
    result = perform_restored(plan_of(CPU + unplug + '[[do]]\nop = "add-cpu"\n'))
    assert settled(result) == [("c", "refused", "gone")]
    said = [one.detail for one in records_of(result) if isinstance(one, r.Stage) and one.name == "qemu"]
    if not any("7.2" in text for text in said):
        pytest.skip("this QEMU is not 7.2")
    assert result.error is not None
    assert result.failure_class is FailureClass.INFRASTRUCTURE
    assert "dies of the add after a processor was taken out (unplug-1)" in result.error.message


def test_a_monitor_that_drops_asks_no_guest_for_nothing(perform_restored: Perform) -> None:
    """The connection is lost before the request: it is made once it is back, and the device is gone."""
    plan = plan_of(f'{DIMM}[[do]]\nop = "drop-monitor"\n[[do]]\nop = "unplug"\ndevice = "m"\n')
    result = perform_restored(plan)
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)


def test_a_history_that_ends_in_a_request_is_unknown(given_back: RunResult, tmp_path: Path) -> None:
    """Of a request whose outcome was never recorded nothing is said to hold."""
    result = given_back
    lines = (result.directory / "history.jsonl").read_text().splitlines(keepends=True)
    cut = next(at for at, line in enumerate(lines) if '"k":"removal"' in line and '"accepted"' in line)
    place = tmp_path / "cut"
    place.mkdir()
    (place / "history.jsonl").write_text("".join(lines[: cut + 1]))
    (place / "run.json").write_bytes((result.directory / "run.json").read_bytes())
    code, out, _ = run_here("check", str(place))
    assert code == ExitCode.UNKNOWN
    assert "unplug-1: what the guest did with the request was never established" in " ".join(out.split())
