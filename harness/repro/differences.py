# SPDX-License-Identifier: MIT
"""The differences between the machine of a recorded run and that of its repetition."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from pathlib import Path

from harness.errors import UsageError
from harness.history.run_directory import RunFacts
from harness.history.writer import Listener
from harness.run.options import is_process
from harness.run.request import RunRequest
from harness.run.run import Run

RUNTIME = re.compile(r"[^,=:\s]*/hotplug-[0-9a-f]{16}")
"""The runtime directory in an argument. Its name is different for every machine."""


HUMAN = ("socket,id=human,", "chardev=human,")
"""The prefixes of the arguments of a second monitor (:mod:`harness.machine.devices`)."""


REFUSED = (
    ("image_digest", "the guest's image"),
    ("image", "the guest's system"),
    ("driver", "the driver"),
    ("qemu_version", "QEMU"),
    ("accelerator", "the accelerator"),
)
"""Facts that make it a different machine if they differ, with their names in messages."""

OF_THE_HOST = (
    ("system", "the host's system"),
    ("processor", "the host's processor"),
    ("cpus", "the number of the host's processors"),
)
"""The same for :attr:`RunFacts.host`."""


class Differences:
    """Compares the facts of a new run with those of the recorded one, as soon as they are known.

    It is called with the new run's facts, and sets ``differs`` in them. A fact that makes it a different machine
    raises UsageError with the whole list, before QEMU starts. With ``anyway`` it is only noted. ``notes`` describes
    all differences.
    """

    def __init__(self, old: RunFacts, *, anyway: bool) -> None:
        self.notes: list[str] = []
        self._old = old
        self._anyway = anyway
        self._told: set[str] = set()
        self._refused: list[str] = []

    def __call__(self, new: RunFacts) -> None:
        """Compare the facts known so far. Raises UsageError if they differ and all facts about the machine are
        known."""
        old = self._old
        if old.harness != new.harness:
            self._note("harness", f"the harness's version is {new.harness}; it was {old.harness}")
        for name, what in REFUSED:
            self._differ(name, what, getattr(old, name), getattr(new, name))
        for name, what in OF_THE_HOST:
            self._differ(name, what, old.host.get(name, ""), new.host.get(name, ""))
        before, now = old.libvirt.get("libvirt", ""), new.libvirt.get("libvirt", "")
        self._differ("libvirt", "libvirt", before, now)
        if old.qemu_argv and new.qemu_argv and not new.libvirt:
            self._compare(normal(old), normal(new))
        new.differs = [*self.notes]
        if self._refused and not self._anyway and _begins(new):
            raise UsageError(
                f"this machine would differ from that of run {old.run}: {'; '.join(self._refused)}",
                hint="--anyway continues despite the differences.",
            )

    def lines(self) -> list[str]:
        """Return what differs, a line each."""
        return [f"Different from the recorded run: {note}" for note in self.notes]

    def _differ(self, key: str, what: str, before: str, now: str) -> None:
        if before and now and before != now and key not in self._told:
            text = f"{what} differs: {_short(now)}, it was {_short(before)}"
            self._refused.append(text)
            self._note(key, text)

    def _compare(self, before: list[str], now: list[str]) -> None:
        gone = [word for word in before if word not in now]
        come = [word for word in now if word not in before]
        if gone or come:
            self._note(
                "argv", f"QEMU's command differs: without {gone or 'nothing'}, with {come or 'nothing'}"
            )

    def _note(self, key: str, text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self.notes.append(text)


def _begins(facts: RunFacts) -> bool:
    """Return whether all facts are known that can be known before the guest's machine starts."""
    return bool(facts.image_digest) and (
        is_process(facts.guest) or bool(facts.accelerator and facts.qemu_version)
    )


def normal(facts: RunFacts) -> list[str]:
    """Return QEMU's arguments without the parts that differ between runs: its directory, its sockets' place, its name.

    A second monitor is left out too.
    """
    run = re.compile(rf"[^,=:\s]*/{re.escape(facts.run)}(?![\w-])")
    return [
        RUNTIME.sub("RUNTIME", run.sub("RUN", word)).replace(facts.run, "NAME")
        for word in facts.qemu_argv[1:]
        if not word.startswith(HUMAN)
    ]


def _short(text: str) -> str:
    return text[:12] if re.fullmatch(r"[0-9a-f]{40,}", text) else text[:80]


def compare_machine(
    request: RunRequest, differences: Differences, *, listeners: tuple[Listener, ...] = ()
) -> None:
    """Compare the machine that ``request`` gets with the recorded one. Start nothing, and leave no run directory.

    Raises UsageError as :class:`Differences` does, and what ends a run before its machine starts.
    """
    with tempfile.TemporaryDirectory(prefix="hotplug-repro-") as folder:
        Run(
            dataclasses.replace(request, runs=Path(folder)), listeners=listeners, learnt=differences
        ).examine()
