# SPDX-License-Identifier: MIT
"""Garbage is not searched for while tests are collected, and is afterwards: ``conftest.py``."""

from __future__ import annotations

import gc


def test_garbage_is_searched_for_among_what_tests_make() -> None:
    """The collected tests are left out of it."""
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000
