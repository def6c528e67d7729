# SPDX-License-Identifier: MIT
"""How many processors the guest counts for the host, held against its drivers' samples and the host's commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contract.state.entities import Growth
from harness.history import record as r
from harness.history.absent import Absent

if TYPE_CHECKING:
    from harness.contract.state.model import Model


class ReportedCounts:
    """The guest's counts since the last boot.

    ``count`` is the last one that the host asked for by itself, ``baseline_count`` that before the first command, at the
    place ``baseline_at``; ``agreed_count`` the highest with which an add was agreed on. ``cpu_gone`` counts the processors
    that the guest gave back: its count is lower by as many, and no page documents what its drivers count then.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.begin_boot()

    def begin_boot(self) -> None:
        """Record that the guest boots, and so counts anew."""
        self.count: r.Count | None = None
        self.cpu_gone = 0
        self.agreed_count = 0
        self.baseline_at = 0
        self.baseline_count = 0
        self._host_counted: tuple[int, int, r.Record] | None = None
        self._uncommanded = False
        self._quiet: tuple[int, int] | None = None

    def counted(self) -> int:
        """Return the active count as far as it is known: from the drivers' samples, or the guest's own count."""
        return max(
            self._model.active, self.agreed_count, self.count.processors if self.count is not None else 0
        )

    def first(self, count: r.Count, agreement: r.Agreement) -> None:
        """Check that before the first command the guest counts as many as at the baseline."""
        if count.why == "baseline" and count.processors != agreement.counted_before:
            self._model.evidence.question(
                f"the guest counted {count.processors} processors at the baseline and {agreement.counted_before} "
                f"before {agreement.attempt}", (count, agreement),
            )  # fmt: skip

    def take(self, count: r.Count) -> None:
        """Take a count of the guest."""
        self.count = count
        self.compare(count.processors, count)

    def compare(self, processors: int, record: r.Record) -> None:
        """Compare the guest's count for the host with its drivers' samples: neither ever falls."""
        sampled = self._model.processors.counted
        if sampled is not None and processors + self.cpu_gone < sampled.active:
            self._model.evidence.contradict(
                f"the guest counts {processors} processors, and driver {sampled.driver} had counted {sampled.active}",
                (sampled, record),
            )  # fmt: skip
        self.unexplained(processors + self.cpu_gone, record)
        if self._host_counted is None or processors > self._host_counted[0]:
            self._host_counted = processors, self._model.at, record

    def unexplained(self, counted: int, record: r.Record) -> None:
        """Report a count that no command explains: another program adds processors, or the count is wrong."""
        if not 0 < self.baseline_count < counted - self._model.commands.cpu_plugged or self._uncommanded:
            return
        self._uncommanded = True
        self._model.evidence.question(
            f"the guest counts {counted} processors: {self.baseline_count} at the baseline, and "
            f"{self._model.commands.cpu_plugged} by the commands to add one", (record,),
        )  # fmt: skip

    def agree(self) -> None:
        """Check that the drivers count, from then on, what the guest counted for the host."""
        told, last = self._host_counted, self._model.stream.last
        if (
            told is None
            or last is None
            or self._model.stream.last_at <= told[1]
            or isinstance(last.active, Absent)
        ):
            return
        if last.active < told[0]:
            self._model.evidence.contradict(
                f"the guest counted {told[0]} processors, and driver {last.driver} counts {last.active} later",
                (told[2], last),
            )  # fmt: skip
            self._host_counted = None

    def rest(self, quiesced: r.Quiesced) -> None:
        """Compare the processors that became active between two quiet points with those that were announced."""
        before, announced = self._quiet, self._model.attempts.announced
        told, refused = len(announced), sum(announced.values())
        sampled = self._model.processors.counted
        # A later sample that is lower does not take back what was counted.
        active = self._model.active if sampled is None else max(self._model.active, sampled.active)
        self._quiet = (self._model.at, max(active, self.counted()))
        announced.clear()
        if before is None or not before[1]:
            return
        grown = active - before[1]
        if grown > told - refused:
            self._model.emit(
                Growth, Growth(since=before[0], grown=grown, told=told, refused=refused, proof=quiesced)
            )
