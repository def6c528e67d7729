# SPDX-License-Identifier: MIT
"""Wilson's interval, compared with published values."""

from __future__ import annotations

import pytest

from harness.interval import wilson


@pytest.mark.parametrize(
    ("seen", "of", "low", "high"),
    [
        # R. G. Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998), table I.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(seen: int, of: int, low: float, high: float) -> None:
    """Method 3 of the paper: the score interval without continuity correction, to four digits."""
    rate = wilson(seen, of)
    assert [low, high] == [round(rate.low, 4), round(rate.high, 4)]


def test_nothing_tried_is_nothing_known() -> None:
    """The interval is everything, and it is said in words."""
    assert "0 of 0 (95 % between 0 and 100 %)" == str(wilson(0, 0))


def test_seven_of_twenty() -> None:
    """As a report says it."""
    assert "7 of 20 (95 % between 18 and 57 %)" == str(wilson(7, 20))
