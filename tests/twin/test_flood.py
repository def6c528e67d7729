# SPDX-License-Identifier: MIT
"""A twin that writes without end on one of its channels: the channel is cut, and only what rests on it is unknown."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from part_markers import needs
from small_disk import small_disk
from twin.running import qemu_processes

from harness.contract.verdict import RunVerdict, Verdict
from harness.deadline import Deadline
from harness.errors import ExitCode, FailureClass, InfrastructureError
from harness.guest.fault_injection import INJECTED_FAULTS
from harness.guest.twin.guest import Twin
from harness.history.reader import History
from harness.history.record import Channel, Console, End, RunFailure
from harness.run.boot import Live
from harness.run.options import RunLimits
from harness.run.plan import find_plan
from harness.run.request import RunRequest
from harness.run.run import Run
from harness.size import Size

pytestmark = pytest.mark.qemu

KEPT = {"console": Size("256 KiB"), "port": Size("64 KiB"), "control": Size("64 KiB")}
"""The limits of the flooded channels. A console as long as this outweighs what else is in a history."""

RECORDS = 500
FLOOD = 120.0
"""Seconds for the twin to write so much on a busy host; its ports take some hundred KiB a second."""


@pytest.fixture
@needs("qemu")
def flooded(request_run: Callable[..., RunRequest]) -> Callable[..., tuple[Run, RunVerdict]]:
    """A function that carries a plan out on a twin that then floods a channel until it is cut, and judges the run."""

    def perform(
        channel: str, plan: str = "veto", *, kept: Size | None = None, **options: object
    ) -> tuple[Run, RunVerdict]:
        limits = RunLimits(channel_limit=kept or KEPT[channel], channel_records=RECORDS)
        run = Run(request_run(plan, restore=True, limits=limits, **options))
        with run.live() as live:
            live.executor.execute(find_plan(plan).do)
            assert isinstance(live.guest, Twin)
            live.guest.order("flood", Deadline(30, "flood"), channel=channel)
            Deadline(FLOOD, "the flood").poll(lambda: _cut(live))
        return run, run.judge()

    return perform


def _cut(live: Live) -> bool:
    return any(one.cut for one in live.capture.budget.channels)


def _account(run: Run, name: str) -> Channel:
    accounts = [one for one in History(run.directory.path) if isinstance(one, Channel) and one.name == name]
    return accounts[-1]


@pytest.mark.parametrize(
    ("channel", "name", "file"),
    [("console", "console", "console.log"), ("port", "debugcon", "debugcon.log"), ("control", "control", "")],
)
def test_a_flooded_channel_is_cut(
    flooded: Callable[..., tuple[Run, RunVerdict]], channel: str, name: str, file: str
) -> None:
    """It is kept up to its limit, what came later is counted, and the run does not hold, with that as its reason.

    The rules of the driver rest on the debug port, whose records were all there before: only its own flood touches them.
    Lines of the console that tell of trouble share records, so that the history grows by little more than the console does.
    """
    run, verdict = flooded(channel)
    account = _account(run, name)
    option = "--channel-limit" if file else "--channel-records"
    assert (False, True) == (account.closed, option in account.cut)
    assert account.dropped if file else account.left_out
    if file:
        assert int(KEPT[channel]) == (run.directory.path / file).stat().st_size
    assert (Verdict.UNKNOWN, ExitCode.UNKNOWN) == (verdict.verdict, verdict.exit_code)
    assert any(f"channel {name} was cut: {account.cut}" in reason for reason in verdict.reasons), (
        verdict.reasons
    )
    rules = {rule.rule: rule.verdict for rule in verdict.rules}
    assert (Verdict.UNKNOWN if channel == "port" else Verdict.HOLDS) is rules["SYNC-FIRST"]
    if channel == "console":
        told = [one for one in History(run.directory.path) if isinstance(one, Console)]
        lines = sum(one.text.count("\n") + 1 for one in told)
        console = (run.directory.path / file).read_bytes()
        assert console.count(b"hpnotify: trouble: flood\r\n") == lines
        assert (run.directory.path / "history.jsonl").stat().st_size < 1.5 * len(console)


@pytest.mark.parametrize("channel", ["console", "port"])
def test_a_violation_outlives_a_flood(flooded: Callable[..., tuple[Run, RunVerdict]], channel: str) -> None:
    """What was proved before a channel was cut stays proved."""
    fault = INJECTED_FAULTS["duplicate-start"]
    _, verdict = flooded(channel, fault.plan, kept=KEPT["port"], inject_fault="duplicate-start")
    assert Verdict.VIOLATED is verdict.verdict
    assert fault.rule in [finding.rule for finding in verdict.findings if finding.verdict is Verdict.VIOLATED]


@pytest.mark.root
def test_a_disk_that_fills_up_is_noticed_at_once(
    request_run: Callable[..., RunRequest], tmp_path: Path
) -> None:
    """While the guest is left alone nothing is recorded, and yet the run ends within seconds, its history whole."""
    small = tmp_path / "small"
    with small_disk(small, "4m"):
        run = Run(_within(request_run("veto", restore=True), small))
        with pytest.raises(InfrastructureError, match="is full"), run.live() as live:  # noqa: PT012
            began = time.monotonic()
            _fill(small / "filler")
            live.watch.wait(lambda: False, Deadline(60, "nothing"))
        assert time.monotonic() - began < 30
        verdict = run.judge()
        records = list(history := History(run.directory.path))
        assert ("", End) == (history.damage, type(records[-1]))
        assert ["infrastructure"] == [one.failure_class for one in records if isinstance(one, RunFailure)]
        assert FailureClass.INFRASTRUCTURE == verdict.failure_class
        assert not qemu_processes(small)


def _within(request: RunRequest, runs: Path) -> RunRequest:
    import dataclasses

    return dataclasses.replace(request, runs=runs)


def _fill(file: Path) -> None:
    """Write until the disk is full."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while True:
            os.write(descriptor, b"x" * 4096)
    except OSError:
        return
    finally:
        os.close(descriptor)
