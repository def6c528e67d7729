# SPDX-License-Identifier: MIT
"""The other doors take a Windows guest with these options: a run is repeated with them, and an acceptance goes through them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from guest.windows.conftest import ScriptedWindows
from guest.windows.test_driver_trace import CLOSED, OPEN, START, change, logged
from guest.windows.test_guest_type import NAME, Request, driver, request_of, store
from guest.windows.test_mapped_run import MAP, answering, tiny
from guest.windows.test_restore import cache

from harness.acceptance.acceptance import accept
from harness.acceptance.case import Case, find_cases
from harness.acceptance.result import CaseOutcome
from harness.history.driver import DriverRecord
from harness.history.reader import History
from harness.repro.recorded_run import RepeatableRun
from harness.run.operation import LoadDriver, UnloadDriver
from harness.run.options import Timeouts
from harness.run.request import RunRequest
from harness.run.run import perform
from harness.setup.cache import cache_directory
from harness.template.store import Store

__all__ = ["cache", "driver", "request_of", "store", "tiny"]


@pytest.mark.qemu
@pytest.mark.remote
def test_run_is_repeated_with_its_map_and_its_state(
    store: Store,
    request_of: Request,
    windows: ScriptedWindows,
    tiny: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``repro`` takes driver, map, restored state and trace from run.json, and the events come again."""
    answering(monkeypatch, windows)
    told = [*START[:2], *change(0), *change(1), *START[2:]]
    windows.change(log_head=OPEN.hex(), log_closed=CLOSED.hex(), logged={"start": [logged(told, at=1)]})
    budget = Timeouts(quiet=0.01)
    first = perform(
        request_of(
            LoadDriver(), UnloadDriver(), driver=str(tiny), driver_map=str(MAP), restore=True, cache=cache,
            budget=budget,
        )
    )  # fmt: skip
    assert None is first.error
    windows.change(logged={"start": [logged(told, at=1)]})
    again = RepeatableRun.read(first.directory).request(
        {"runs": first.directory.parent}, cache=cache, argv=[]
    )
    assert (str(MAP), True, str(tiny), False) == (
        again.driver_map,
        again.restore,
        again.driver,
        again.dbgprint,
    )
    second = perform(again)
    assert None is second.error
    kinds = [
        [type(one) for one in History(result.directory) if isinstance(one, DriverRecord)]
        for result in (first, second)
    ]
    assert 9 == len(kinds[0])
    assert kinds[0] == kinds[1]


def test_case_that_an_option_cannot_have_is_not_run(request_of: Request) -> None:
    """The reason is the case's, and the cases after it are done; without the option it is booted."""
    (case,) = find_cases(["plug-and-play"])
    asked: list[Case] = []

    def request(case: Case, guest: str) -> RunRequest:
        asked.append(case)
        return request_of(plan=case.plan, guest=guest, restore=True, cache=cache_directory(os.environ))

    found = accept(
        [case, case], request, NAME, compare=False, soak=False, started="", told=lambda _result: None
    )
    assert 2 == len(asked)
    for result in found.results:
        assert CaseOutcome.UNKNOWN is result.outcome
        assert ["--restore and a plan with pnp = true cannot be combined"] == [why[:55] for why in result.why]
    assert not request_of(plan=case.plan, restore=None).restore
