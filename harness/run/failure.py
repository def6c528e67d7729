# SPDX-License-Identifier: MIT
"""Consequences of a failure: whether the run is retried, and which later runs are not tried at all.

A run's failure class is decided by :mod:`harness.contract.blame`, from its history. This module draws the
consequences. An infrastructure failure is retried once, and both attempts are kept. A guest whose boot failed
is not booted again in the same session on the same machine; its tests are skipped with that reason.
"""

from __future__ import annotations

import dataclasses

import msgspec

from harness.config import to_plain
from harness.contract.verdict import RunVerdict, Verdict
from harness.errors import FailureClass, HarnessError, InfrastructureError, MissingPart
from harness.run.request import RunRequest

IMAGE_STAGES = frozenset({"image"})
"""Stages whose failure affects every run of the guest: without its image it cannot boot on any machine."""

BOOT_STAGES = IMAGE_STAGES | {"qemu", "boot"}
"""Stages whose failure affects every run of the guest on the same machine."""

ATTEMPTS = 2
"""Maximum number of attempts of a run."""


def classify(verdict: RunVerdict, error: HarnessError | None) -> FailureClass | None:
    """Return the failure class of a finished run, None if it has none.

    The history decides. Only if the error itself prevented its record (the disk is full), the error's own
    class is used.
    """
    if (
        error is not None
        and verdict.verdict is not Verdict.VIOLATED
        and verdict.failure_class in ("", "unknown")
    ):
        return error.failure_class
    return FailureClass(verdict.failure_class) if verdict.failure_class else None


def retriable(error: HarnessError | None) -> bool:
    """Return whether a retry may help: the infrastructure failed, and not because something is missing.

    A refusal by QEMU or an impossible plan would be the same at the next attempt.
    """
    return (
        isinstance(error, InfrastructureError)
        and not isinstance(error, MissingPart)
        and error.failure_class is not FailureClass.PLAN
    )


def second_attempt(request: RunRequest, run: str, error: HarnessError | None) -> RunRequest | None:
    """Return the request that retries the run ``run``, which ended with ``error``; None for no retry."""
    if request.attempt >= ATTEMPTS or not retriable(error):
        return None
    return dataclasses.replace(request, attempt=request.attempt + 1, retry_of=run)


class BootFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A guest that failed to boot. ``run`` is the name of the run with the evidence."""

    guest: str
    machine: str
    stage: str
    message: str
    failure_class: str
    run: str

    def __str__(self) -> str:
        return f"{self.guest} did not boot before (run {self.run}, stage {self.stage}): {self.message}"


class BootFailures:
    """The failed boots of one session, of pytest or a nightly run. The first of each kind is kept."""

    def __init__(self) -> None:
        self._failures: list[BootFailure] = []

    def note(self, failure: BootFailure | None) -> None:
        """Remember a failed boot; ignore None, and a stage that implies nothing for the next boot."""
        if failure is not None and failure.stage in BOOT_STAGES:
            self._failures.append(failure)

    def of(self, guest: str, machine: str) -> BootFailure | None:
        """Return why this guest need not be booted on this machine, None if there is no known reason."""
        for failure in self._failures:
            if failure.guest == guest and (failure.stage in IMAGE_STAGES or failure.machine == machine):
                return failure
        return None

    def against(self, request: RunRequest) -> BootFailure | None:
        """Return the same for a request."""
        return self.of(request.guest, machine_key(request))


def machine_key(request: RunRequest) -> str:
    """Return the properties of a request's machine that may decide whether a guest boots."""
    wishes = msgspec.json.encode(to_plain(request.plan.machine), order="sorted").decode()
    parts = [
        str(value)
        for one, value in request.values()
        if one.machine or one.field in ("driver", "inject_fault")
    ]
    return "|".join([*parts, wishes])


def boot_failure(request: RunRequest, run: str, stage: str, error: HarnessError) -> BootFailure | None:
    """Return what ``error`` in ``stage`` implies for the next boot, None if nothing: another plan may need less."""
    if stage not in BOOT_STAGES or error.failure_class is FailureClass.PLAN:
        return None
    return BootFailure(
        guest=request.guest,
        machine=machine_key(request),
        stage=stage,
        message=error.message[:500],
        failure_class=str(error.failure_class),
        run=run,
    )
