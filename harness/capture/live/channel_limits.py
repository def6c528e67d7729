# SPDX-License-Identifier: MIT
"""The channel limits: how much a guest may write. They are options of a run, and --help shows them with few imports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ChannelLimits:
    """Bytes and records that a guest may write: on one channel, and on all channels of a run together."""

    channel_limit: int = 64 << 20
    channel_records: int = 100_000
    run_limit: int = 256 << 20
    run_records: int = 250_000
