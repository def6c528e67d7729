# SPDX-License-Identifier: MIT
"""An end time as people write it: a time of day, a span from now on, or a date with a time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from harness.errors import UsageError

EXAMPLES = "For example 18:00, 90m, 2h, 1d, 2026-11-30T18:00, 2026-11-30T17:00Z"

_SPAN = re.compile(r"(?=.)(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m(?:in)?)?")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_DAY = re.compile(r"\d{4}-?(?:\d{2}-?\d{2}|W\d{2}(?:-?\d)?)")


def read_end_time(said: str, *, what: str, now: float) -> float:
    """Return an end time in seconds since the epoch. ``what`` names its place in messages. ``now`` is in seconds since the epoch.

    A time of day is the next one on this host's clock: tomorrow's if today's has passed. A date with a time is in this
    host's time zone unless it names another. Raises UsageError for a text that is not an end time, and for a time in
    the past.
    """
    text = said.strip()[:100]
    if clock := _CLOCK.fullmatch(text):
        hour, minute = int(clock[1]), int(clock[2])
        here = datetime.fromtimestamp(now)
        found = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
        if found.timestamp() <= now:
            found += timedelta(days=1)
        return found.timestamp()
    if span := _SPAN.fullmatch(text):
        days, hours, minutes = (int(part or 0) for part in span.groups())
        end = now + 60 * (minutes + 60 * (hours + 24 * days))
    else:
        end = _date(text, what)
    if end <= now:
        raise UsageError(f"{what}: {text!r} has already passed", hint=EXAMPLES)
    return end


def _date(text: str, what: str) -> float:
    try:
        if _DAY.fullmatch(text):
            raise ValueError("a day needs a time")
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        why = f": {error}" if _DAY.fullmatch(text) else ""
        raise UsageError(f"{what}: {text!r} is not an end time{why}", hint=EXAMPLES) from error


def shown(at: float) -> str:
    """Return a moment as people read it on this host's clock: the time of day, with the day unless it is today."""
    try:
        then, today = datetime.fromtimestamp(at), datetime.now()
    except (ValueError, OverflowError, OSError):
        return f"second {at:.0f}"
    return then.strftime("%H:%M") if then.date() == today.date() else then.strftime("%Y-%m-%d %H:%M")
