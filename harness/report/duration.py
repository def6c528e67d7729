# SPDX-License-Identifier: MIT
"""A duration in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a number of seconds as people read it."""
    minutes = int(seconds) // 60
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{int(seconds)} s"
