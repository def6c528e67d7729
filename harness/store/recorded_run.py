# SPDX-License-Identifier: MIT
"""The part of a run directory that the store keeps: its documents, and times from its history.

Directories of earlier revisions are read as they are. A field that they lack is "".
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from datetime import datetime
from pathlib import Path

import msgspec

from harness.contract.verdict import RunVerdict
from harness.errors import UsageError, system_errors
from harness.history.private import open_regular
from harness.history.record import Add, Ost, Stage
from harness.history.run_directory import FACTS, HISTORY, LARGEST, VERDICT, RunFacts

LARGEST_HISTORY = 64 << 20
"""Bytes of a history that are searched for times. Later operations are not timed."""

LONGEST_LINE = 1 << 16
"""The most bytes of a line that may be a stage, an add or its answer. Longer lines are other records."""

MOST_TIMINGS = 1000

STAGES = ("boot", "driver", "lease", "qemu")
"""The stages that are timed."""

_DRIVERS = re.compile(r"(?:^|/)(?:[^/]+\.(?:sys|ko)|hpnotify-host)$")


class Timed(msgspec.Struct, frozen=True):
    """A duration of ``ms`` milliseconds."""

    what: str
    number: int
    ms: float


class RecordedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run directory as the store reads it. ``verdict`` is None for a run that was never judged. ``at`` is in
    seconds, UTC."""

    path: Path
    name: str
    digest: str
    facts: RunFacts
    verdict: RunVerdict | None
    at: int
    seconds: float
    timings: list[Timed]

    @property
    def guest_build(self) -> str:
        """The guest's build: its kernel, or the version and build of Windows."""
        return self.facts.image.partition(";")[0]

    @property
    def qemu_build(self) -> str:
        """QEMU's version as it prints it, "" if the machine is a process."""
        return self.facts.qemu_version.removeprefix("QEMU emulator version ")

    @property
    def driver_digest(self) -> str:
        """The digest of the driver's file, or of the image if the driver is built into it, as in the twin."""
        found = [digest for name, digest in sorted(self.facts.content.items()) if _DRIVERS.search(name)]
        return (found or [self.facts.image_digest])[0][:16]

    @property
    def plan(self) -> str:
        """The plan's name."""
        return str(self.facts.plan.get("name", ""))


def read_run(path: Path, *, known: str = "", told: bytes = b"") -> RecordedRun | None:
    """Read a run directory, None if its digest is still ``known``. Raises UsageError if it cannot be read.

    ``told`` is the nightly run's entry for the run, which is part of the digest.
    """
    facts_bytes, verdict_bytes = _bytes(path / FACTS), _bytes(path / VERDICT)
    if facts_bytes is None:
        raise UsageError(
            f"{path} has no {FACTS}", hint="This file describes how the run was made. Give a run directory."
        )
    digest = hashlib.sha256(b"\0".join((facts_bytes, verdict_bytes or b"", told))).hexdigest()
    if digest == known:
        return None
    try:
        facts = msgspec.json.decode(facts_bytes, type=RunFacts)
        verdict = msgspec.json.decode(verdict_bytes, type=RunVerdict) if verdict_bytes is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    timings = _timings(path / HISTORY, restored=bool(facts.state))
    began, ended = seconds_of(facts.started), seconds_of(facts.finished)
    return RecordedRun(
        path=path,
        name=facts.run or path.name,
        digest=digest,
        facts=facts,
        verdict=verdict,
        at=int(began),
        seconds=max(0.0, ended - began) if ended else 0.0,
        timings=timings,
    )


def _bytes(file: Path) -> bytes | None:
    with system_errors(str(file), kind=UsageError):
        if not file.is_file():
            return None
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UsageError(f"{file} is larger than {LARGEST} bytes")
    return data


def seconds_of(stamp: str) -> float:
    """Return a timestamp in seconds since the epoch, 0 if it is invalid or earlier than that."""
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, datetime.fromisoformat(stamp).timestamp())
    return 0.0


def _timings(file: Path, *, restored: bool) -> list[Timed]:
    """Return the times of stages, and of each add from its command to the firmware's first ``_OST`` for the device.

    Both times of a difference are the host's. A restored guest has no boot: ``restore`` lasts from QEMU's start with
    the snapshot until the guest answers.
    """
    begun: dict[str, int] = {}
    adding: dict[str, tuple[str, int]] = {}
    found: list[tuple[str, float]] = []
    try:
        with open_regular(file) as lines:
            while lines.tell() < LARGEST_HISTORY and len(found) < MOST_TIMINGS:
                line = lines.readline(LARGEST_HISTORY)
                if not line:
                    break
                if len(line) > LONGEST_LINE or not any(sign in line[:200] for sign in _SIGNS):
                    continue
                with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    record = _DECODER.decode(line)
                    match record:
                        case Stage(name=name, phase="begin"):
                            begun[name] = record.host_ns
                        case Stage(name=name, phase="end") if name in begun and name in STAGES:
                            found.append((name, (record.host_ns - begun[name]) / 1e6))
                        case Add(phase="begin"):
                            adding[record.device] = (f"add-{record.what}", record.host_ns)
                        case Ost() if record.device in adding:
                            what, at = adding.pop(record.device)
                            found.append((what, (record.host_ns - at) / 1e6))
    except OSError:
        return []
    if restored:
        took = sum(ms for what, ms in found if what in ("qemu", "boot"))
        found = [(what, ms) for what, ms in found if what not in ("qemu", "boot")]
        found += [("restore", took)] if took else []
    counts: dict[str, int] = {}
    timings = []
    for what, ms in found:
        counts[what] = counts.get(what, 0) + 1
        timings.append(Timed(what, counts[what], round(max(0.0, ms), 3)))
    return timings


_SIGNS = (b'"k":"stage"', b'"k":"add"', b'"k":"ost"')
_DECODER = msgspec.json.Decoder(Stage | Add | Ost)


def is_run(path: Path) -> bool:
    """Return whether ``path`` is a run directory."""
    # Path's methods are not used: they raise for a directory that cannot be entered.
    return os.path.isfile(path / FACTS)  # noqa: PTH113
