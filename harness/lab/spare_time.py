# SPDX-License-Identifier: MIT
"""The spare time of a nightly run: once its runs are over, each guest is explored in turn until the time that ``explore`` names.

The corpus and the findings of a guest are in ``exploration/GUEST.QEMU`` beside the nightly runs, so that every night goes on
where the last one ended, and a finding is new once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from harness.errors import HarnessError
from harness.lab.matrix import Matrix
from harness.lab.nightly_state import ExploredGuest, NightlyState
from harness.run.options import RunOptions

FOLDER = "exploration"
"""The folder beside the nightly runs."""

LEAST_S = 5.0
"""Seconds that are worth an exploration."""

HOLD_S = 1.0
"""Seconds between two looks whether the host is reserved."""


@dataclasses.dataclass(eq=False)
class SpareTime:
    """Explores the guests of ``matrix`` after the runs of ``state``, until ``ends``, in seconds since the epoch.

    ``into`` is the folder of the nightly runs. No plan begins while ``hold`` gives a reason. ``say`` gets progress in words,
    ``tick`` is called once a second.
    """

    matrix: Matrix
    state: NightlyState
    into: Path
    _: dataclasses.KW_ONLY
    cache: Path
    ends: float
    hold: Callable[[], str] = lambda: ""
    say: Callable[[str], None] = lambda _: None
    tick: Callable[[], None] = lambda: None
    _held: bool = dataclasses.field(default=False, init=False)
    _looked: float = dataclasses.field(default=0.0, init=False)

    def spend(self) -> None:
        """Explore; each report is in ``state.explored`` as soon as its exploration begins.

        What fails is said there, and the next guest is explored. Raises KeyboardInterrupt after the guests were ended; what was
        found is kept.
        """
        left = list(self.matrix.explored.items())
        while left:
            rest = self.ends - time.time()
            if rest < LEAST_S:
                break
            name, options = left.pop(0)
            self._explore(name, options, rest / (len(left) + 1))
        for name, _ in left:
            self.state.explored.append(ExploredGuest(name=name, error="no time was left for it"))

    def _explore(self, name: str, options: RunOptions, seconds: float) -> None:
        from harness.explore.exploration import Exploration, usual_jobs

        explored = ExploredGuest(name=name)
        self.state.explored.append(explored)
        self.say(f"exploring {name} for {seconds / 60:.0f} minutes")
        try:
            exploration = Exploration(
                dataclasses.replace(options, seed=self._seed(name)),
                self.into / FOLDER / name,
                cache=self.cache,
                seconds=seconds,
                jobs=usual_jobs(options.guest),
                going_on=True,
                strict=True,
                held=self._is_held,
                tick=self.tick,
                say=lambda line: self.say(f"{name}: {line}"),
            )
            explored.report = exploration.report
            exploration.perform()
        except HarnessError as error:
            explored.error = error.message
            self.say(f"{name}: {error.message}")

    def _seed(self, name: str) -> int:
        """Return a seed that differs from guest to guest and from night to night."""
        of = repr((self.matrix.document.seed, self.state.head.name, name))
        return int.from_bytes(hashlib.sha256(of.encode()).digest()[:4])

    def _is_held(self) -> bool:
        now = time.monotonic()
        if now - self._looked >= HOLD_S:
            self._looked, self._held = now, bool(self.hold())
        return self._held
