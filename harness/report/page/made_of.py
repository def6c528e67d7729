# SPDX-License-Identifier: MIT
"""What a run was made of, as rows of names and printable values: versions, arguments, the host, digests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from harness import __version__
from harness.contract.verdict import RunVerdict
from harness.errors import UsageError
from harness.history.reader import History
from harness.history.run_directory import RunDirectory, RunFacts
from harness.invocation import quoted
from harness.report.escape import printable


def facts_of(history: History) -> RunFacts | None:
    """Return what ``run.json`` beside a history says, None if there is none, or it is another run's."""
    with contextlib.suppress(UsageError):
        facts = RunDirectory(history.path.parent).facts()
        return facts if facts.run == history.header.run else None
    return None


def environment(facts: RunFacts | None, history: History, verdict: RunVerdict) -> list[list[str]]:
    """Return names and values of what a run was made with, and of what it was told."""
    header = history.header
    rows = [
        ("Run", verdict.run), ("Guest", verdict.guest), ("Recorded", header.wall),
        ("Length", f"{history.seconds:.1f} s"), ("Recorded by", f"harness {header.harness}"),
        ("Judged by", f"harness {verdict.harness or __version__}"),
    ]  # fmt: skip
    if facts is not None:
        rows += [
            ("Plan", str(facts.plan.get("name", ""))), ("Command", " ".join(map(quoted, facts.argv[1:]))),
            ("Injected fault", facts.fault), ("Seed", str(facts.seed)),
            ("Accelerator", f"{facts.accelerator}: {facts.accelerator_reason}".strip(": ")),
            ("QEMU", f"{facts.qemu} {facts.qemu_version}".strip()), ("Machine", facts.machine),
            ("Backend", facts.backend), ("Firmware", facts.firmware), ("Image", facts.image),
            ("Driver", facts.driver), ("Attempt", str(facts.attempt) if facts.attempt > 1 else ""),
            ("Second attempt of", facts.retry_of), ("Repeats", facts.repro_of),
            *((f"Host, {name}", value) for name, value in facts.host.items()),
            *((f"libvirt, {name}", value) for name, value in facts.libvirt.items()),
            ("QEMU's arguments", " ".join(map(quoted, facts.qemu_argv))),
            ("Process", " ".join(map(quoted, facts.process_argv))),
        ]  # fmt: skip
    return [[printable(name, 60), printable(value, 8000)] for name, value in rows if value]


def digests(facts: RunFacts | None) -> list[list[str]]:
    """Return the SHA-256 of each file that the run's guest was made of."""
    if facts is None:
        return []
    rows: Iterable[tuple[str, str]] = [("image", facts.image_digest), *facts.content.items()]
    return [[printable(name, 200), printable(value, 200)] for name, value in rows if value]
