# SPDX-License-Identifier: MIT
"""The host's commands in a made history, and how each of them settles."""

from __future__ import annotations

from harness.history.driver import Grow, Mark
from harness.history.record import Add, Agreement, Count, OperationProgress, Ost
from tests.contract.reference.scenario import Scenario


class HostCommand:
    """One command that adds a processor or a DIMM, from its begin to its agreement."""

    def __init__(self, scene: Scenario, what: str, expected: str = "added") -> None:
        self.scene = scene
        self.what = what
        self.expected = expected
        scene.adds += 1
        scene.operation += 1
        self.index = scene.operation
        self.name = f"{what}-{scene.adds}"
        self.before = self._count()
        self._operation("begin")
        self._add("begin")
        self._add("refused" if expected == "refused" else "accepted")
        if what == "cpu" and expected == "added" and scene.chance.random() < 0.2:
            slot = str(len(scene.system.processors))
            scene.tape.put(Ost(device=self.name, slot=slot, slot_type="CPU", source=1, status=0))

    def _count(self) -> int:
        system = self.scene.system
        return len(system.processors) if self.what == "cpu" else system.memory

    def _operation(self, phase: str) -> None:
        name = f"add-{self.what}"
        self.scene.tape.put(OperationProgress(index=self.index, name=name, phase=phase))  # type: ignore[arg-type]

    def _add(self, phase: str) -> None:
        self.scene.tape.put(
            Add(
                attempt=self.name, phase=phase, what=self.what, device=self.name,  # type: ignore[arg-type]
                slot=str(self.before) if self.what == "cpu" else "", expected=self.expected,  # type: ignore[arg-type]
                bytes=0 if self.what == "cpu" else 256 << 20,
            )
        )  # fmt: skip

    def settle(self, *, quiet: bool = True, agreed: bool = True) -> None:
        """Await the consequences, and write what the three say."""
        scene = self.scene
        if quiet:
            scene.tape.quiet()
        for item in scene.due:
            item.overdue = True
            scene.soft("an arrival came after the add had settled, or never")
        refused = self.expected == "refused"
        first = scene.chance.random() < 0.7
        if first and not refused:
            self._add("settled")
        scene.tape.put(
            Agreement(
                attempt=self.name, expected=self.expected, agreed=agreed, qemu_lists=not refused,
                ost=[] if refused else [(1, 0)], counted_before=self.before, counted_after=self._count(),
                detail="" if agreed else "the guest does not count it",
            )
        )  # fmt: skip
        if not first and not refused:
            self._add("settled")
        mark(scene)
        self._operation("end")


def baseline(scene: Scenario) -> None:
    """The guest is quiet, and counted."""
    scene.tape.quiet()
    count = Count(processors=len(scene.system.processors), memory=scene.system.memory, why="baseline")
    scene.tape.put(count)
    mark(scene)


def mark(scene: Scenario) -> None:
    """Have a driver echo a nonce, now and then."""
    loaded = [driver for driver in scene.drivers if driver.loaded and not driver.habits.mapped]
    if loaded and scene.chance.random() < 0.5:
        scene.chance.choice(loaded).say(Mark, nonce=f"{scene.chance.getrandbits(64):016x}")


def grow(scene: Scenario) -> None:
    """Have the drivers' buffers grow with the memory, now and then."""
    for driver in scene.drivers:
        if driver.loaded and not driver.habits.mapped and scene.chance.random() < 0.3:
            driver.say(Grow, before=65536, after=131072)
