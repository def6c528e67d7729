# SPDX-License-Identifier: MIT
"""The cache directory: keys, locks, publishing."""

from __future__ import annotations

from harness.setup.cache import digest


def test_digest_tells_where_one_input_ends_and_the_next_begins() -> None:
    """Moving a byte from one input to the next gives another key."""
    assert digest("ab", "c") != digest("a", "bc")
