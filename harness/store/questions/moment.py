# SPDX-License-Identifier: MIT
"""Moments: the store's times, in seconds since the epoch, as texts, and the beginning of a span of days."""

from __future__ import annotations

import time
from datetime import UTC, datetime

DAY = 86_400


def since(days: float, now: float | None = None) -> int:
    """Return the moment ``days`` before ``now``, in seconds since the epoch."""
    return max(0, int((time.time() if now is None else now) - days * DAY))


def stamp(at: int | None) -> str:
    """Return a moment as ISO 8601 in UTC, "" for none and for one outside the calendar."""
    if not at:
        return ""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


def short(said: str) -> str:
    """Return a timestamp as people read it: the day and the minute."""
    return said[:16].replace("T", " ")
