# SPDX-License-Identifier: MIT
"""What one pytest session remembers of its guests, and the request that a test's markers and the settings make.

A guest that did not boot is not booted again on the same machine in this session: later tests are skipped with that
cause. A test whose infrastructure failed is run once more, and both attempts keep their evidence.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.testing import marks
from harness.testing.summary import Row, row_of

if TYPE_CHECKING:
    from harness.run.failure import BootFailures
    from harness.run.request import RunRequest
    from harness.run.run import Run, RunResult
    from harness.testing.settings import Settings
    from harness.testing.under_test import RunUnderTest

ROWS = pytest.StashKey[list[Row]]()
RETRY_OF = pytest.StashKey[str]()
AGAIN = pytest.StashKey[bool]()
CLASS = pytest.StashKey[str]()
RUN = pytest.StashKey["RunUnderTest | None"]()

NO_BUG = frozenset({"infrastructure", "usage"})
"""Classes of failures that no known bug of a guest or a driver excuses."""


class Guests:
    """The guests of one session; a plugin of pytest too. ``live`` are the runs that go on now."""

    def __init__(self, settings: Settings, *, prompts: bool) -> None:
        self.settings = settings
        self.live: list[RunUnderTest] = []
        self._prompts = prompts
        self._failures: BootFailures | None = None

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Have the runs that go on end as interrupted; pytest takes their fixtures down next."""
        for run in self.live:
            run.error = run.error or excinfo.value

    @property
    def failures(self) -> BootFailures:
        """The boots that failed."""
        if self._failures is None:
            from harness.run.failure import BootFailures

            self._failures = BootFailures()
        return self._failures

    def request(self, item: pytest.Item, guest: str, runs: Path) -> RunRequest:
        """Return what a test's run is asked to be. Raises pytest.UsageError, or UsageError of the harness."""
        from harness.run.executor import Timeouts
        from harness.run.operation import Quiesce
        from harness.run.plan import Plan
        from harness.run.request import RunRequest
        from harness.setup.cache import cache_directory
        from harness.size import Size

        settings = self.settings
        plan = marks.plan_of(item)
        wishes = marks.wishes_of(item, plan)
        retry_of = item.stash.get(RETRY_OF, "")
        return RunRequest(
            plan=Plan(
                name=item.name if plan is None else plan.name,
                driver=True if plan is None else plan.driver,
                machine=wishes,
                do=[Quiesce()] if plan is None else plan.do,
            ),
            runs=Path(settings["runs"]) if settings["runs"] else runs,
            cache=cache_directory(os.environ),
            argv=["pytest", item.nodeid],
            guest=guest,
            accelerator=settings["accel"],  # type: ignore[arg-type] # RunRequest refuses other names itself
            qemu=settings["qemu"],
            backend=settings["backend"],
            connect=settings["connect"],
            # Absolute, so that whoever does the run again may do it from anywhere.
            driver=_absolute(settings["driver"]),
            driver_map=_absolute(settings["driver-map"]),
            kd=settings["kd"],
            restore=self._restores(guest),
            # Somebody may want to look at the guest while pytest's prompt is open.
            monitor=self._prompts and not self._is_process(guest),
            plant=marks.plant_of(item),
            budget=Timeouts(
                boot=float(settings["boot-timeout"]), evidence=float(settings["evidence-timeout"])
            ),
            dump=Size(settings["dump"]) if settings["dump"] else 0,
            attempt=2 if retry_of else 1,
            retry_of=retry_of,
        )

    def _is_process(self, guest: str) -> bool:
        from harness.guest.guest_types import GUEST_TYPES
        from harness.guest.process.guest import ProcessType

        return isinstance(GUEST_TYPES.get(guest), ProcessType)

    def _restores(self, guest: str) -> bool:
        """Return whether the guest begins from its saved state: as was asked, else if it can."""
        settings = self.settings
        if settings["boot"]:
            return settings["boot"] == "restore"
        return not (self._is_process(guest) or settings["backend"] != "qemu" or settings["kd"])

    def refuse_known_failure(self, request: RunRequest) -> None:
        """Skip the test if its guest did not boot before."""
        known = self.failures.against(request)
        if known is not None:
            pytest.skip(f"{known.failure_class}: {known}")

    def ended(self, item: pytest.Item, run: Run, result: RunResult) -> None:
        """Note what became of a run: its row, whether the test is tried again, whether the guest is given up."""
        from harness.contract.verdict import Verdict
        from harness.run.failure import second_attempt

        item.stash.setdefault(ROWS, []).append(row_of(item.nodeid, run.facts, result))
        item.stash[CLASS] = str(result.failure_class or "")
        error = result.error
        name = result.directory.name
        if result.verdict.verdict is not Verdict.VIOLATED and second_attempt(run.request, name, error):
            item.stash[AGAIN] = True
            item.stash[RETRY_OF] = name
        else:
            self.failures.note(run.boot_failure)


def _absolute(path: str) -> str:
    return str(Path(path).resolve()) if path else ""
