# SPDX-License-Identifier: MIT
"""Wilson's score interval: between which rates the true one lies, seen so many of so many."""

from __future__ import annotations

import math

import msgspec

Z95 = 1.959963984540054
"""The standard normal quantile of 0.975: an interval that holds the true rate 95 times of 100."""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """``seen`` of ``of``, as a ``rate`` with its 95 % interval from ``low`` to ``high``, each 0 to 1."""

    seen: int
    of: int
    rate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.seen} of {self.of} (95 % between {100 * self.low:.0f} and {100 * self.high:.0f} %)"


def wilson(seen: int, of: int) -> Rate:
    """Return the rate with its interval; nothing is known of a rate that was never tried: 0 to 1.

    E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22 (1927).
    """
    if of == 0:
        return Rate(seen=0, of=0, rate=0.0, low=0.0, high=1.0)
    rate, square = seen / of, Z95 * Z95
    middle = (rate + square / (2 * of)) / (1 + square / of)
    half = Z95 / (1 + square / of) * math.sqrt(rate * (1 - rate) / of + square / (4 * of * of))
    return Rate(
        seen=seen,
        of=of,
        rate=rate,
        low=0.0 if seen == 0 else max(0.0, middle - half),
        high=1.0 if seen == of else min(1.0, middle + half),
    )
