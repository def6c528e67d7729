# SPDX-License-Identifier: MIT
"""The exception tree's exit codes, and which of many codes stands for all."""

from __future__ import annotations

import itertools

import pytest

from harness.errors import (
    WORST_FIRST,
    BadDocument,
    CommandRefused,
    ExitCode,
    FailureClass,
    GuestHang,
    HarnessError,
    InfrastructureError,
    MachineFailed,
    UsageError,
    worst,
)  # fmt: skip

REFUSED = CommandRefused("no", command="device_add", error_class="", description="no")


def test_over_many_runs_the_worst_counts() -> None:
    """A signal's > 64 > 69 > 1 > 3 > 0, whatever their order and number; nothing at all holds."""
    ranks = [[129, 130, 131, 143], [64], [69], [1], [3], [0]]
    rank = {code: at for at, codes in enumerate(ranks) for code in codes}
    assert sorted(rank) == sorted(map(int, ExitCode)) == sorted(map(int, WORST_FIRST))
    for codes in itertools.product(ExitCode, repeat=3):
        assert rank[worst(codes)] == min(rank[code] for code in codes)
    assert ExitCode.HOLDS == worst([])


@pytest.mark.parametrize(
    ("error", "code", "blamed"),
    [
        (UsageError("x"), 64, FailureClass.PLAN),
        (BadDocument("x"), 64, FailureClass.PLAN),
        (InfrastructureError("x"), 69, FailureClass.INFRASTRUCTURE),
        (GuestHang("x"), 3, FailureClass.GUEST_HANG),
        (REFUSED, 69, FailureClass.INFRASTRUCTURE),
    ],
)
def test_an_error_has_its_code_and_its_class(error: HarnessError, code: int, blamed: FailureClass) -> None:
    """As the module's tree draws them."""
    assert (code, blamed) == (error.exit_code, error.failure_class)


def test_what_a_plan_asked_for_is_the_plan_s() -> None:
    """One error is blamed on the plan, and no other of its class."""
    died = MachineFailed("died")
    assert (64, FailureClass.PLAN) == (died.of_plan().exit_code, died.failure_class)
    assert ExitCode.INFRASTRUCTURE == MachineFailed("died").exit_code
