# SPDX-License-Identifier: MIT
"""What follows from a failure: whether the run gets a second attempt, and which later runs need not be tried at all.

A run's failure class is decided by :mod:`harness.contract.blame`, from its history. Here is what that leads to: an
infrastructure failure is tried again, once, and both attempts are kept; a guest whose boot failed is not booted again in
the same session on the same machine, whose tests are skipped with that cause instead.
"""

from __future__ import annotations

import dataclasses

import msgspec

from harness.config import to_plain
from harness.contract.verdict import RunVerdict, Verdict
from harness.errors import FailureClass, HarnessError, InfrastructureError, MissingPart
from harness.run.request import RunRequest

IMAGE_STAGES = frozenset({"image"})
"""Stages whose failure concerns every run of the guest: without its image it boots nowhere."""

BOOT_STAGES = IMAGE_STAGES | {"qemu", "boot"}
"""Stages whose failure concerns every run of the guest on the same machine."""

ATTEMPTS = 2
"""How often a run is tried at most."""


def classify(verdict: RunVerdict, error: HarnessError | None) -> FailureClass | None:
    """Return who is to blame for a finished run, None if nobody need be.

    The history decides. Only where it does not know of the error, because that kept it from being written (the disk is
    full), the error speaks for itself.
    """
    if (
        error is not None
        and verdict.verdict is not Verdict.VIOLATED
        and verdict.failure_class in ("", "unknown")
    ):
        return error.failure_class
    return FailureClass(verdict.failure_class) if verdict.failure_class else None


def retriable(error: HarnessError | None) -> bool:
    """Return whether trying again may end better: the infrastructure failed, and it is not that something is missing.

    What QEMU refuses or a plan asks in vain is the same the next time.
    """
    return (
        isinstance(error, InfrastructureError)
        and not isinstance(error, MissingPart)
        and error.failure_class is not FailureClass.PLAN
    )


def second_attempt(request: RunRequest, run: str, error: HarnessError | None) -> RunRequest | None:
    """Return the request that tries again what ended with ``error`` as the run called ``run``; None if nothing does."""
    if request.attempt >= ATTEMPTS or not retriable(error):
        return None
    return dataclasses.replace(request, attempt=request.attempt + 1, retry_of=run)


class BootFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A guest that did not come up. ``run`` is the name of the run whose evidence tells more."""

    guest: str
    machine: str
    stage: str
    message: str
    failure_class: str
    run: str

    def __str__(self) -> str:
        return f"{self.guest} did not boot before (run {self.run}, stage {self.stage}): {self.message}"


class BootFailures:
    """The boots that failed in one session, of pytest or a nightly run. The first of each is kept."""

    def __init__(self) -> None:
        self._failures: list[BootFailure] = []

    def note(self, failure: BootFailure | None) -> None:
        """Remember a failed boot; None, or a stage that says nothing about the next boot, is passed over."""
        if failure is not None and failure.stage in BOOT_STAGES:
            self._failures.append(failure)

    def of(self, guest: str, machine: str) -> BootFailure | None:
        """Return why this guest need not be booted on this machine, None if nothing is known against it."""
        for failure in self._failures:
            if failure.guest == guest and (failure.stage in IMAGE_STAGES or failure.machine == machine):
                return failure
        return None

    def against(self, request: RunRequest) -> BootFailure | None:
        """The same for a request."""
        return self.of(request.guest, machine_key(request))


def machine_key(request: RunRequest) -> str:
    """Return what tells the machine of a request from others, as far as it may decide whether a guest boots."""
    wishes = msgspec.json.encode(to_plain(request.plan.machine), order="sorted").decode()
    parts = [
        str(value)
        for one, value in request.values()
        if one.machine or one.field in ("driver", "inject_fault")
    ]
    return "|".join([*parts, wishes])


def boot_failure(request: RunRequest, run: str, stage: str, error: HarnessError) -> BootFailure | None:
    """Return what ``error`` in ``stage`` says about the next boot, None if nothing: another plan may ask for less."""
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
