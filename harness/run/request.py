# SPDX-License-Identifier: MIT
"""The request: the definition of one run, checked before anything is started."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.guest.fault_injection import UNPLUG_FAULTS
from harness.run.operation import LoadDriver, Migrate
from harness.run.options import RunOptions
from harness.run.plan import Plan
from harness.run.rehearsal import rehearse

if TYPE_CHECKING:
    from harness.capture.mapping.driver_map import DriverMap


def _no_text(word: str) -> UsageError:
    try:
        os.fsencode(word).decode()
    except UnicodeError:
        return UsageError(f"not UTF-8 text, as the documents of a run are: {word!r}")
    return UsageError(
        f"not text in this locale, whose encoding is {sys.getfilesystemencoding()}: {word!r}",
        hint="Set LC_ALL=C.UTF-8 and PYTHONUTF8=1, or give names in ASCII.",
    )


def check_plan(plan: Plan, options: RunOptions) -> None:
    """Check that a run with these options can execute ``plan``, as far as this is known before it starts.

    Raises UsageError for options that exclude the plan, and BadDocument for a plan that no machine of the guest can
    execute.
    """
    if options.restore and plan.machine.started != "running":
        raise UsageError(
            "--restore begins where a boot ended, and the plan before one: "
            f"machine.started = {plan.machine.started!r}",
            hint="Leave out --restore.",
        )
    if options.restore and _without_snapshot(plan, options.guest):
        raise UsageError(
            f"--restore and a plan with pnp = true cannot be combined on {options.guest}: QEMU does not save the state of the "
            "device that the driver's package is for",
            hint="Leave out --restore, or say --cold.",
        )
    rehearse(plan, guest=options.guest, machine=options.machine, backend=options.backend, kd=options.kd)
    if options.inject_fault in UNPLUG_FAULTS and options.guest != "twin":
        raise UsageError(
            f"the fault {options.inject_fault} is one of the twin's Linux, and {options.guest} has none",
            hint="Use --guest twin.",
        )


def read_driver_map(path: str) -> DriverMap | None:
    """Return the decoded driver map in a file, None for "". Raises BadDocument."""
    if not path:
        return None
    from harness.capture.mapping.driver_map import load

    return load(Path(path))


def _with_devices(plan: Plan) -> bool:
    return plan.pnp or any(isinstance(one, LoadDriver) and one.pnp for one in plan.do)


def _without_snapshot(plan: Plan, guest: str) -> bool:
    return guest.startswith("windows") and _with_devices(plan)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRequest(RunOptions):
    """What to run: the plan, the options with a decided ``restore``, and the origin of the run.

    ``cache`` is the folder of built things. ``attempt`` is 2 for the retry of ``retry_of``, a run whose
    infrastructure failed; ``repro_of`` is the run that this one repeats. Raises what RunOptions raises, and
    BadDocument for an invalid driver map or a plan that no machine of the guest can execute.
    """

    plan: Plan
    cache: Path
    argv: list[str]
    attempt: int = 1
    retry_of: str = ""
    repro_of: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for word in (*self.argv, str(self.runs.absolute()), self.driver, self.driver_map):
            if word != word.encode(errors="replace").decode():
                raise _no_text(word)
        self.mapped()
        check_plan(self.plan, self)
        cold = self.plan.machine.started != "running" or _without_snapshot(self.plan, self.guest)
        object.__setattr__(self, "restore", self.restores and not cold)

    @property
    def with_devices(self) -> bool:
        """Whether the plan installs the driver as a Plug and Play driver."""
        return _with_devices(self.plan)

    @property
    def migrates(self) -> bool:
        """Whether the plan migrates the guest to another QEMU."""
        return any(isinstance(one, Migrate) for one in self.plan.do)

    def mapped(self) -> DriverMap | None:
        """Return the decoded driver map, None without one. Raises BadDocument."""
        return read_driver_map(self.driver_map)
