# SPDX-License-Identifier: MIT
"""The run directory: the unit of evidence. One run, one directory, readable by its owner only.

::

    runs/20261121-091502-cpu-and-dimm-3f9c/
        run.json         argv, versions, digests, seed, plan (RunFacts)
        history.jsonl    the history
        verdict.json     the verdict (harness.contract.verdict.RunVerdict)
        qemu.log  console.log  debugcon.log
        evidence/        what a run that went wrong left behind (harness.history.evidence)
    runs/latest          symbolic link to the newest
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import InfrastructureError
from harness.history.private import open_private


class RunFacts(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a run was made of, and what became of it, as stored in ``run.json``. Times are UTC, ISO 8601.

    ``request`` is what was asked for where that is not said elsewhere, for whoever wants the same machine again.
    ``attempt`` is 2 for the one repetition that an infrastructure failure gets, ``retry_of`` the run that failed;
    ``repro_of`` the run that this one repeats. ``verdict`` and ``failure_class`` are "" until it was judged, the latter also
    if nobody is to blame; ``failed_stage`` and ``error`` tell what ended the run early.
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
    driver: str = ""
    plant: str = ""
    host: dict[str, str] = {}
    request: dict[str, Any] = {}
    attempt: int = 1
    retry_of: str = ""
    repro_of: str = ""
    verdict: str = ""
    failure_class: str = ""
    failed_stage: str = ""
    error: str = ""


class RunDirectory:
    """One run's directory, made new. Raises InfrastructureError if it cannot be made."""

    def __init__(self, root: Path, plan: str) -> None:
        label = re.sub(r"[^A-Za-z0-9-]+", "-", plan).strip("-")[:40] or "plan"
        self.root = root
        self.name = f"{time.strftime('%Y%m%d-%H%M%S')}-{label}-{secrets.token_hex(2)}"
        self.path = root / self.name
        try:
            root.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700)
            # A umask may have taken even the owner's rights away.
            self.path.chmod(0o700)
        except OSError as error:
            raise InfrastructureError(
                f"cannot make the run directory {self.path}: {error.strerror}",
                hint="Give a writable place with --runs DIR.",
            ) from error
        self._link()

    def _link(self) -> None:
        """Point ``latest`` here, atomically; two runs at once leave it pointing at one of them."""
        fresh = self.root / f".latest-{self.name}"
        with contextlib.suppress(OSError):
            fresh.symlink_to(self.name)
            fresh.replace(self.root / "latest")

    def write_json(self, name: str, value: Any) -> None:
        """Write ``value`` to the file ``name``, a path in the directory, so that a reader sees the old or the new, never half of it."""
        target = self.path / name
        fresh = target.with_name(f".{target.name}.new")
        try:
            data = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
            with os.fdopen(open_private(fresh, os.O_WRONLY | os.O_TRUNC), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(target)
        except OSError as error:
            raise InfrastructureError(
                f"cannot write {target}: {error.strerror}",
                hint="The history up to there is kept. Free some disk space, or give another place with --runs DIR.",
            ) from error
