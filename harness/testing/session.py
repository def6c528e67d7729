# SPDX-License-Identifier: MIT
"""The state of one pytest session about its guests, and the request from a test's markers and the settings.

A guest that failed to boot is not booted again on the same machine in this session: later tests are skipped
with that reason. A test with an infrastructure failure is rerun once, and both attempts keep their evidence.
"""

from __future__ import annotations

import os
import signal
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

NO_BUG = frozenset({"infrastructure", "plan", "usage"})
"""Classes of failures that a known bug of a guest or a driver does not excuse."""


class Guests:
    """The guests of one session; also a pytest plugin. ``live`` are the current runs,
    ``prompts`` whether pytest opens a prompt (``--pdb``)."""

    def __init__(self, settings: Settings, *, prompts: bool) -> None:
        self.settings = settings
        self.live: list[RunUnderTest] = []
        self.prompts = prompts
        self._failures: BootFailures | None = None
        self._signal = 0

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Mark the current runs as interrupted; pytest tears down their fixtures next."""
        self._signal = getattr(excinfo.value, "number", signal.SIGINT)
        for run in self.live:
            run.error = run.error or excinfo.value

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Exit with 128 plus the number of the signal that interrupted a run; Ctrl-C keeps pytest's own code, 2."""
        if self._signal not in (0, signal.SIGINT):
            session.exitstatus = 128 + self._signal

    @property
    def failures(self) -> BootFailures:
        """The failed boots."""
        if self._failures is None:
            from harness.run.failure import BootFailures

            self._failures = BootFailures()
        return self._failures

    def request(self, item: pytest.Item, guest: str, runs: Path) -> RunRequest:
        """Return the request of a test's run. Raises pytest.UsageError, or the harness's UsageError."""
        import msgspec

        from harness.run.operation import Quiesce
        from harness.run.options import is_process
        from harness.run.plan import Plan
        from harness.run.request import RunRequest
        from harness.setup.cache import cache_directory

        settings = self.settings
        plan = marks.plan_of(item) or Plan(name=item.name, do=[Quiesce()])
        retry_of = item.stash.get(RETRY_OF, "")
        options = settings.options(
            {
                "guest": guest,
                "runs": Path(settings["runs"]) if settings["runs"] else runs,
                # The guest can be inspected while pytest's prompt is open.
                "monitor": self.prompts and not is_process(guest),
                "inject_fault": marks.fault_of(item),
            }
        )
        return RunRequest(
            **vars(options),
            plan=msgspec.structs.replace(plan, machine=marks.wishes_of(item, plan)),
            cache=cache_directory(os.environ),
            argv=["pytest", item.nodeid],
            attempt=2 if retry_of else 1,
            retry_of=retry_of,
        )

    def refuse_known_failure(self, request: RunRequest) -> None:
        """Skip the test if its guest failed to boot before."""
        known = self.failures.against(request)
        if known is not None:
            pytest.skip(f"{known.failure_class}: {known}")

    def ended(self, item: pytest.Item, run: Run, result: RunResult) -> None:
        """Note the result of a run: its row, whether the test is rerun, whether the guest is not booted again."""
        from harness.contract.verdict import Verdict
        from harness.run.failure import second_attempt

        item.stash.setdefault(ROWS, []).append(row_of(item.nodeid, run.facts, result))
        item.stash[CLASS] = str(result.failure_class or "")
        error = result.error
        name = result.directory.name
        again = not run.given_up and second_attempt(run.request, name, error)
        if again and result.verdict.verdict is not Verdict.VIOLATED:
            item.stash[AGAIN] = True
            item.stash[RETRY_OF] = name
        else:
            self.failures.note(run.boot_failure)
