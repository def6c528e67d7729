# SPDX-License-Identifier: MIT
"""A host that differs from the others, and the threshold of the tests that name it."""

from __future__ import annotations

import msgspec

CRITICAL = 10.83
"""The value of chi-square with one degree of freedom that chance exceeds once in 1000 times."""


class HostDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A host that differs: ``what`` differs, the figure ``here``, and the figure ``elsewhere``, which the other hosts
    lead to expect.

    For a time, ``ratio`` is the median over the compared points of its ratio to the other hosts, and the figures are
    medians at ``point``, where the difference is largest. For results, they are None and "".
    """

    host: str
    what: str
    here: float
    elsewhere: float
    ratio: float | None = None
    point: str = ""
