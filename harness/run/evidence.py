# SPDX-License-Identifier: MIT
"""Collects what a guest can still tell when its run went wrong, before the guest is ended.

The evidence has a time budget of its own, begun when the run failed, so that a timeout of the test never costs it. Each
thing has its share of that budget and fails alone: whatever goes wrong here is written into the index and never raised,
since it must not hide the run's own error. What needs QEMU is left out once QEMU does not answer or is gone; the logs and
the history are there in any case. The dearest thing, a dump of the guest's memory, is made only if it was allowed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError, MonitorLost
from harness.guest.guest import Guest
from harness.history.evidence import EvidenceIndex, EvidenceItem
from harness.history.run_directory import EVIDENCE, FACTS, HISTORY, INDEX, PAGE, SILENT, RunDirectory
from harness.host.budget import size_text
from harness.machine.inspection import Inspectable, Inspector
from harness.machine.machine import Machine
from harness.run.handover import hand_over

ASK = 5.0
"""Seconds for each look at the guest from outside; a QEMU that answers at all does so in milliseconds."""

GUEST_SHARE = 0.5
"""Share of the time left that a guest gets to hand over its own traces."""

DUMP_SHARE = 0.5
"""Share of the time left that a dump of the memory gets."""

QUERIES = (
    "query-status", "query-cpus-fast", "query-hotpluggable-cpus", "query-memory-devices", "query-memory-size-summary",
    "query-version", "query-kvm", "query-chardev",
)  # fmt: skip
"""QMP queries whose answers are kept. None of them asks the guest."""

RECORDED = (
    FACTS, HISTORY, "qemu.log", "console.log", "debugcon.log", "dbgprint.jsonl", "domain.xml", "ssh.log", SILENT,
)  # fmt: skip
"""What lies in the run directory in any case, as far as the run came."""

LARGEST_TEXT = 8 << 20
"""Bytes of the registers' text that are kept; 288 processors have one MiB."""


class _Left(Exception):
    """This is left out, for the reason given."""


class Evidence:
    """Collects the evidence of one run. ``dump`` is how many bytes a memory dump may have, 0 for no dump.

    ``machine`` and ``guest`` are what there was when the run failed, None if it did not come so far. ``index`` says what came
    of it.
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
        """Collect and return the index, which is stored too, also when Ctrl-C cuts the collection short.

        ``cheap`` leaves out what takes more than some milliseconds. Raises KeyboardInterrupt only.
        """
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
        try:
            self._take("state", self._state, deadline)
            self._take("registers", self._registers, deadline)
            self._take("screen", self._screen, deadline)
            if not cheap:
                # Asking a guest that hangs may have it crash: its memory as it was comes first.
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
        """Return the names of what was had besides what every run has."""
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
            raise _Left("QEMU is gone; its last words are in qemu.log")
        if self._mute:
            raise _Left(self._mute)
        return self._machine

    def _inspector(self) -> Inspector:
        """Return what looks at the machine from outside."""
        machine = self._running()
        if not isinstance(machine, Inspectable):
            raise _Left("this machine is no QEMU, and cannot be looked at from outside")
        return machine.inspector()

    def _state(self, deadline: Deadline) -> list[Path]:
        """Keep what QEMU says of itself, its processors and its memory."""
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
        file.write_bytes(msgspec.json.format(msgspec.json.encode(answers), indent=2) + b"\n")
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
        """Collect what the guest recorded itself, if its guest type can and it still answers."""
        self._running()
        guest = self._guest
        if guest is None or guest.emulates_nt:
            raise _Left("this guest hands over nothing of its own")
        into = self._folder / "guest"
        share = max(1.0, deadline.remaining() * GUEST_SHARE)
        within = deadline.within(share, "fetch the guest's traces")
        into.mkdir(mode=0o700, exist_ok=True)
        try:
            hand_over(guest, into, self._directory.path, within)
        except HarnessError as error:
            # What came before it failed is worth as much as it was.
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
            # Half a dump is as large as a whole one, and no debugger reads it.
            file.unlink(missing_ok=True)
            raise
        return [file]

    def _index(self, why: str, failure_class: str, stage: str) -> EvidenceIndex:
        place = self._directory.path
        # Each QEMU that a guest was migrated to has words of its own.
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
    """Return the index for people, as Markdown."""
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
    """Return text that may quote a guest so that it stays inside a Markdown table and brings no markup of its own."""
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
