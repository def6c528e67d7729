# SPDX-License-Identifier: MIT
"""Every operation of a plan has something that executes it."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from harness.run.executor import Executor
from harness.run.operation import Operation

DISPATCHER = vars(Executor)["_do"].dispatcher


@pytest.mark.parametrize("kind", get_args(Operation), ids=lambda kind: kind.__name__)
def test_every_operation_is_executed(kind: type[msgspec.Struct]) -> None:
    """The executor has a method for it, not only the one that refuses what is no operation."""
    assert (kind.__name__, True) == (
        kind.__name__,
        DISPATCHER.dispatch(kind) is not DISPATCHER.dispatch(object),
    )
