# SPDX-License-Identifier: MIT
"""Collects evidence from the guest of a failed run, before the guest is ended.

The evidence has its own time budget, which starts when the run fails, so that a timeout of the test never
prevents it. Each item has its share of that budget and fails separately. A failure here is written into the
index and never raised, because it must not hide the run's own error. Items that need QEMU are skipped once
QEMU does not answer or has ended; the logs and the history are always there. The most expensive item, a dump
of the guest's memory, is made only on request.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError, MonitorLost
from harness.guest.guest import Guest
from harness.history.evidence import EvidenceIndex, EvidenceItem
from harness.history.json_file import indented
from harness.history.run_directory import EVIDENCE, FACTS, HISTORY, INDEX, PAGE, SILENT, RunDirectory
from harness.host.budget import size_text
from harness.machine.inspection import Inspectable, Inspector
from harness.machine.machine import Machine
from harness.run.handover import hand_over

ASK = 5.0
"""Seconds for each query of the machine from outside; QEMU answers in milliseconds if it answers at all."""

GUEST_SHARE = 0.5
"""Share of the remaining time that a guest gets to supply its own traces."""

DUMP_SHARE = 0.5
"""Share of the remaining time that a memory dump gets."""

QUERIES = (
    "query-status", "query-cpus-fast", "query-hotpluggable-cpus", "query-memory-devices", "query-memory-size-summary",
    "query-version", "query-kvm", "query-chardev",
)  # fmt: skip
"""QMP queries whose answers are kept. None of them needs the guest."""

RECORDED = (
    FACTS, HISTORY, "qemu.log", "console.log", "debugcon.log", "dbgprint.jsonl", "domain.xml", "ssh.log", SILENT,
)  # fmt: skip
"""Files that every run directory has, as far as the run got."""

LARGEST_TEXT = 8 << 20
"""Maximum bytes of the registers' text; 288 processors need one MiB."""


class _Left(Exception):
    """This item is skipped, for the given reason."""


class Evidence:
    """Collects the evidence of one run. ``dump`` is how many bytes a memory dump may have, 0 for no dump.

    ``machine`` and ``guest`` are those of the failed run, None if it did not get so far. ``index`` has the
    results.
    """

    def __init__(
        self, directory: RunDirectory, machine: Machine | None, guest: Guest | None, *, dump: int = 0
    ) -> None:
        self._directory = directory
        self._folder = directory.path / EVIDENCE
        self._machine = machine
        self._guest = guest
        self._dump = dump
        self._items: list[EvidenceItem] = []
        self._mute = ""
        self.index = EvidenceIndex(run=directory.name, why="nothing was collected")

    def collect(
        self, why: str, deadline: Deadline, *, failure_class: str = "", stage: str = "", cheap: bool = False
    ) -> EvidenceIndex:
        """Collect, store and return the index; it is also stored when Ctrl-C interrupts the collection.

        ``cheap`` skips everything that takes more than some milliseconds. Raises only KeyboardInterrupt.
        """
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
        try:
            self._take("state", self._state, deadline)
            self._take("registers", self._registers, deadline)
            self._take("screen", self._screen, deadline)
            if not cheap:
                # Querying a hung guest may crash it, so its unchanged memory comes first.
                self._take("memory", self._memory, deadline)
                self._take("guest", self._from_guest, deadline)
        except KeyboardInterrupt:
            self._items.append(EvidenceItem(name="the rest", state="skipped", reason="interrupted"))
            raise
        finally:
            self.index = self._index(why, failure_class, stage)
            self._store(self.index)
        return self.index

    def summary(self) -> str:
        """Return the names of the collected items besides those of every run."""
        return (
            ", ".join(item.name for item in self._items if item.state == "collected")
            or "nothing but the logs"
        )

    def _take(self, name: str, act: Callable[[Deadline], list[Path]], deadline: Deadline) -> None:
        began = time.monotonic()

        def done(state: Any, reason: str = "", files: list[Path] | None = None) -> None:
            names = [str(file.relative_to(self._directory.path)) for file in files or []]
            size = sum(_size(file) for file in files or [])
            seconds = round(time.monotonic() - began, 3)
            self._items.append(
                EvidenceItem(name=name, state=state, reason=reason, files=names, bytes=size, seconds=seconds)
            )

        if deadline.expired:
            done("skipped", "the time for evidence was over")
            return
        try:
            done("collected", files=act(deadline))
        except _Left as left:
            done("skipped", str(left))
        except HarnessError as error:
            if isinstance(error, MonitorLost):
                self._mute = "QEMU did not answer before"
            done("failed", error.message[:500])
        except Exception as error:  # noqa: BLE001 - evidence never hides what it is evidence of
            done("failed", f"{type(error).__name__}: {error}"[:500])

    def _running(self) -> Machine:
        """Return the machine if it still runs and answers."""
        if self._machine is None:
            raise _Left("the run ended before there was a machine")
        if not self._machine.alive():
            raise _Left("QEMU is gone; its last output is in qemu.log")
        if self._mute:
            raise _Left(self._mute)
        return self._machine

    def _inspector(self) -> Inspector:
        """Return the interface for inspecting the machine from outside."""
        machine = self._running()
        if not isinstance(machine, Inspectable):
            raise _Left("this machine is not a QEMU, and cannot be inspected from outside")
        return machine.inspector()

    def _state(self, deadline: Deadline) -> list[Path]:
        """Save QEMU's report on itself, its processors and its memory."""
        self._inspector()
        machine = self._running()
        within = deadline.within(ASK, "ask QEMU for its state")
        answers: dict[str, Any] = {}
        for query in QUERIES:
            try:
                answers[query] = machine.execute(query, within)
            except MonitorLost:
                raise
            except HarnessError as error:
                answers[query] = {"error": error.message}
        file = self._folder / "state.json"
        file.write_bytes(indented(answers))
        return [file]

    def _registers(self, deadline: Deadline) -> list[Path]:
        text = self._inspector().registers(deadline.within(ASK, "read the registers"))
        file = self._folder / "registers.txt"
        file.write_text(text[:LARGEST_TEXT].replace("\r\n", "\n"), encoding="utf-8", errors="replace")
        return [file]

    def _screen(self, deadline: Deadline) -> list[Path]:
        inspector = self._inspector()
        if not self._running().spec.screen:
            raise _Left("the machine has no screen")
        within = deadline.within(ASK, "take a picture of the screen")
        return [inspector.screenshot(self._folder / "screen", within)]

    def _from_guest(self, deadline: Deadline) -> list[Path]:
        """Collect the guest's own recordings, if its guest type supports that and it still answers."""
        self._running()
        guest = self._guest
        if guest is None or guest.emulates_nt:
            raise _Left("this guest supplies no files")
        into = self._folder / "guest"
        share = max(1.0, deadline.remaining() * GUEST_SHARE)
        within = deadline.within(share, "fetch the guest's traces")
        into.mkdir(mode=0o700, exist_ok=True)
        try:
            hand_over(guest, into, self._directory.path, within)
        except HarnessError as error:
            # Files that were collected before the failure are kept.
            had = [file.name for file in _files(into)]
            raise InfrastructureError(
                f"{error.message}; had before: {', '.join(had) or 'nothing'}"
            ) from error
        return _files(into)

    def _memory(self, deadline: Deadline) -> list[Path]:
        inspector, machine = self._inspector(), self._running()
        if not self._dump:
            raise _Left("no dump of the guest's memory was asked for (--dump SIZE)")
        summary = machine.execute(
            "query-memory-size-summary", deadline.within(ASK, "ask for the memory's size")
        )
        size = int(summary["base-memory"]) + int(summary.get("plugged-memory", 0))
        if size > self._dump:
            raise _Left(
                f"the guest has {size_text(size)} of memory, and a dump may have {size_text(self._dump)}"
            )
        file = self._folder / "memory.elf"
        try:
            share = max(1.0, deadline.remaining() * DUMP_SHARE)
            inspector.dump(file, deadline.within(share, "dump the guest's memory"))
        except HarnessError:
            # Half a dump is as large as a whole one, and no debugger can read it.
            file.unlink(missing_ok=True)
            raise
        return [file]

    def _index(self, why: str, failure_class: str, stage: str) -> EvidenceIndex:
        place = self._directory.path
        # Each QEMU that a guest was migrated to has its own log.
        words = sorted(path.name for path in place.glob("qemu-*.log"))
        recorded = [
            EvidenceItem(name=name, state="collected", files=[name], bytes=_size(place / name))
            for name in (*RECORDED, *words)
            if (place / name).is_file()
        ]
        return EvidenceIndex(
            run=self._directory.name,
            why=why[:2000],
            failure_class=failure_class,
            stage=stage,
            at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            items=[*recorded, *self._items],
        )

    def _store(self, index: EvidenceIndex) -> None:
        with contextlib.suppress(HarnessError, OSError):
            self._directory.write_json(INDEX, index)
            page = "".join(f"{line}\n" for line in page_lines(index))
            (self._directory.path / PAGE).write_text(page, encoding="utf-8")


def page_lines(index: EvidenceIndex) -> list[str]:
    """Return the index as Markdown, for human readers."""
    lines = [f"# Evidence of run {index.run}", "", f"{_cell(index.why)}", ""]
    if index.failure_class or index.stage:
        lines += [
            f"Class: {index.failure_class or '-'}; stage: {index.stage or '-'}; collected {index.at}.",
            "",
        ]
    lines += ["| what | state | files, or why not |", "| --- | --- | --- |"]
    for item in index.items:
        files = ", ".join(f"[{name}](../{name})" for name in item.files)
        said = f"{files} ({item.bytes} bytes)" if files else _cell(item.reason)
        lines.append(f"| {item.name} | {item.state} | {said} |")
    return lines


def _cell(text: str) -> str:
    """Return text that may quote a guest, escaped for a Markdown table cell."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return "".join(f"\\{sign}" if sign in "\\|`*_[]<>#" else sign for sign in plain)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _files(folder: Path) -> list[Path]:
    """Return the regular files in a folder, links not followed."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
