# SPDX-License-Identifier: MIT
"""The run directory: the unit of evidence. One run, one directory, readable by its owner only.

Only this module knows the names of its files. It writes and reads the documents in it; the history has its own writer
(:mod:`harness.history.writer`) and reader (:mod:`harness.history.reader`).

::

    runs/20261121-091502-cpu-and-dimm-3f9c/
        run.json         argv, versions, digests, seed, plan (RunFacts)
        history.jsonl    the history
        verdict.json     the verdict (harness.contract.verdict.RunVerdict)
        report.html      the run as a page, if requested
        qemu.log  console.log  debugcon.log, and qemu-N.log of each QEMU that the guest was migrated to
        silent.txt       the registers of a twin that was silent in its boot, before it was reset
        evidence/        what was collected of a run that went wrong (harness.history.evidence)
        driver-map/      the map that reads a driver's own events, and its manifest
    runs/latest          symbolic link to the newest
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.errors import MAKE_ROOM, InfrastructureError, UsageError, system_errors
from harness.history.evidence import EvidenceIndex
from harness.history.json_file import indented
from harness.history.private import open_regular, write_private

FACTS, HISTORY, VERDICT = "run.json", "history.jsonl", "verdict.json"
REPORT = "report.html"
EVIDENCE = "evidence"
INDEX, PAGE = f"{EVIDENCE}/index.json", f"{EVIDENCE}/index.md"
DRIVER_MAP = "driver-map/map.toml"
SILENT = "silent.txt"
"""The registers of a twin that was silent in its boot, before it was reset."""

LARGEST = 16 << 20
"""Bytes of a document that are read. A usual one has some kilobytes, that of a run with the largest plan some megabytes."""

T = TypeVar("T")


class RunFacts(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A run's ingredients and its end, as stored in ``run.json``. Times are UTC, ISO 8601.

    ``content`` has the SHA-256 of each file of the guest that ran. ``request`` has the other parts of the request that are
    needed to make the same machine again. ``attempt`` is 2 for the one retry after an infrastructure failure, and
    ``retry_of`` is then the failed run. ``repro_of`` is the run that this one repeats,
    and ``differs`` lists what of its machine is different. ``leases`` is the directory with the
    run's lease. ``private_leases`` says why other users' machines are not counted there, "" if they are. ``verdict`` and
    ``failure_class`` are "" until the run is judged; ``failure_class`` also if there is none. ``failed_stage`` and
    ``error`` say what ended the run early.
    """

    run: str
    harness: str
    argv: list[str]
    guest: str
    plan: dict[str, Any]
    seed: int
    started: str
    finished: str = ""
    accelerator: str = ""
    accelerator_reason: str = ""
    qemu: str = ""
    qemu_version: str = ""
    qemu_argv: list[str] = []
    process_argv: list[str] = []
    backend: str = ""
    libvirt: dict[str, str] = {}
    machine: str = ""
    firmware: str = ""
    image_digest: str = ""
    image: str = ""
    state: str = ""
    content: dict[str, str] = {}
    driver: str = ""
    fault: str = msgspec.field(default="", name="plant")
    host: dict[str, str] = {}
    leases: str = ""
    private_leases: str = ""
    request: dict[str, Any] = {}
    attempt: int = 1
    retry_of: str = ""
    repro_of: str = ""
    differs: list[str] = []
    verdict: str = ""
    failure_class: str = ""
    failed_stage: str = ""
    error: str = ""


class Brief(msgspec.Struct, kw_only=True):
    """The part of ``run.json`` that listing or judging many runs needs; "" or empty if unknown."""

    run: str = ""
    guest: str = ""
    argv: list[str] = []
    plan: dict[str, Any] = {}
    kernel_release: str = ""
    image_digest: str = ""
    finished: str = ""
    error: str = ""


def history_file(path: Path) -> Path:
    """Return the history at ``path``: that of a run directory, or the file ``path`` itself."""
    # Not Path's method, which raises for a name that is too long.
    return path / HISTORY if os.path.isdir(path) else path  # noqa: PTH112


def lasting(path: Path) -> Path:
    """Return the name that still finds the run at ``path`` when ``latest`` points to another one."""
    with contextlib.suppress(OSError):
        if path.name == "latest" and path.is_symlink() and (name := path.readlink()) == Path(name.name):
            return path.with_name(name.name)
    return path


def _unusable(root: Path) -> str:
    """Return why nothing can be in ``root``, "" if unknown. For a link, mkdir reports only that it exists."""
    try:
        os.stat(f"{root}/{os.curdir}")  # noqa: PTH116
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or ""
    return ""


TRIES = 20
"""How many names are tried for a new run directory. Of runs that begin at the same time, two may draw the same."""


class RunDirectory:
    """The directory of one run, to write and to read. The constructor touches no file; :meth:`create` makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    @classmethod
    def create(cls, root: Path, plan: str) -> RunDirectory:
        """Make a new one in ``root``, named after the time and the plan. Raises InfrastructureError."""
        label = re.sub(r"[^A-Za-z0-9-]+", "-", plan).strip("-")[:40] or "plan"
        made = cls(root)
        try:
            root.mkdir(parents=True, exist_ok=True)
            for tries_left in reversed(range(TRIES)):
                made = cls(root / f"{time.strftime('%Y%m%d-%H%M%S')}-{label}-{secrets.token_hex(2)}")
                try:
                    made.path.mkdir(mode=0o700)
                    break
                except FileExistsError:
                    # Another run began in the same second and drew the same digits.
                    if not tries_left:
                        raise
            # The umask may have removed even the owner's permissions.
            made.path.chmod(0o700)
        except OSError as error:
            raise InfrastructureError(
                f"cannot make the run directory {made.path}: {_unusable(root) or error.strerror}",
                hint="Give a writable place with --runs DIR.",
            ) from error
        fresh = root / f".latest-{made.name}"
        # Atomically: two runs at once leave the link pointing at one of them.
        with contextlib.suppress(OSError):
            fresh.symlink_to(made.name)
            fresh.replace(root / "latest")
        return made

    def make_private(self) -> None:
        """Make its contents private to the owner. QEMU, libvirt and the programs of a guest write files there too.

        Files of other users stay as they are; no other user may enter the run directory.
        """
        for folder, folders, files in os.walk(self.path):
            for name, mode in [*((name, 0o700) for name in folders), *((name, 0o600) for name in files)]:
                path = Path(folder, name)
                with contextlib.suppress(OSError):
                    if not path.is_symlink():
                        path.chmod(mode)

    def facts(self) -> RunFacts:
        """Return the content of ``run.json``. Raises UsageError if it is missing or damaged."""
        return self._read(FACTS, RunFacts, "does not say what it was made of")

    def brief(self) -> Brief:
        """Return the most important facts quickly, or an empty :class:`Brief` if they cannot be read."""
        try:
            return self._read(FACTS, Brief)
        except UsageError:
            return Brief()

    def evidence(self) -> EvidenceIndex | None:
        """Return the index of the evidence, or None if there is none. Raises UsageError if it is damaged."""
        return self._read(INDEX, EvidenceIndex) if (self.path / INDEX).is_file() else None

    def _read(self, name: str, kind: type[T], damaged: str = "cannot be read") -> T:
        """Decode a document. Raises UsageError if it is missing, or is ``damaged``."""
        file = self.path / name
        try:
            with open_regular(file) as data:
                return msgspec.json.decode(data.read(LARGEST), type=kind)
        except OSError as error:
            raise UsageError(
                f"{file}: {error.strerror}", hint="Give the directory of a run, or of a test."
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(
                f"{file} {damaged}: {error}",
                hint="Another version of the harness wrote it, or it was changed; the files beside it may be whole.",
            ) from error

    def write_facts(self, facts: RunFacts, *, durable: bool = True) -> None:
        """Write ``run.json``. Raises InfrastructureError."""
        self.write_json(FACTS, facts, durable=durable)

    def write_json(self, name: str, value: Any, *, durable: bool = True) -> None:
        """Write ``value`` as JSON to ``name``, a path in the directory. A reader sees the old or the new file, never a part.

        The end of a process never loses it. Only what is ``durable`` is on the disk when this returns, whatever happens to the
        host: waiting for the disk takes longer than writing, so what will soon be written again is not.
        """
        target = self.path / name
        with system_errors(f"cannot write {target}", hint=f"The history up to there is kept. {MAKE_ROOM}"):
            data = indented(value)
            write_private(target, data, durable=durable)
