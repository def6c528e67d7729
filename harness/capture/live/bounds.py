# SPDX-License-Identifier: MIT
"""Bounds for machines that are not recorded: their files are cut back like those of a run, and not read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness.capture.live.budget import RunBudget
from harness.capture.live.channel_limits import ChannelLimits
from harness.capture.live.follower import Follower


@contextlib.contextmanager
def kept_small(*files: Path, limits: ChannelLimits | None = None) -> Iterator[None]:
    """Keep files that a guest, or QEMU for it, appends to within ``limits`` while the block runs."""
    budget = RunBudget(limits or ChannelLimits())
    follower = Follower()
    for file in files:
        follower.add(file, None, budget=budget.channel(file.name, file))
    follower.start()
    try:
        yield
    finally:
        # The writer of the file notices a full disk too.
        with contextlib.suppress(Exception):
            follower.close()
