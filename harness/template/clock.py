# SPDX-License-Identifier: MIT
"""The time at which a template's clock begins: in each run a minute after the last shutdown, so that no days pass.

An evaluation counts days, and every run begins with the same disk. The clock cannot begin before the disk was last written:
Windows was seen to start with the time that it had stored instead (a report of others; no page of Microsoft's says so).
"""

from __future__ import annotations

from typing import NamedTuple

from harness.machine.attachments import RealTimeClock
from harness.template.manifest import TemplateManifest, seconds_of

AFTER = 60
"""Seconds after the shutdown; the file system's times are earlier."""

AHEAD = 15 * 3600
"""Seconds. No time zone is further ahead of UTC than 14 hours (tz database: Pacific/Kiritimati)."""


class ClockStart(NamedTuple):
    """The machine's ``clock``, and ``why`` it begins there, for people."""

    clock: RealTimeClock
    why: str


def clock_start(manifest: TemplateManifest, *, real_time: bool = False) -> ClockStart:
    """Return the clock of a run, which is the host's if ``real_time``.

    A template of an earlier harness does not record its shutdown, and its guest took the host's local time for UTC. Its clock
    begins at the end of its build, plus so many hours that it never goes back.
    """
    if real_time:
        return ClockStart(RealTimeClock(), "the host's clock, as --real-time says")
    if stopped := seconds_of(manifest.shutdown):
        return ClockStart(RealTimeClock(start=stopped + AFTER), "a minute after the template's last shutdown")
    if built := seconds_of(manifest.built):
        return ClockStart(
            RealTimeClock(start=built + AHEAD),
            "15 hours after the template's build: its manifest does not say when it was shut down, and its clock was not in UTC",
        )
    return ClockStart(
        RealTimeClock(), "the host's clock: the template's manifest has no time that can be read"
    )
