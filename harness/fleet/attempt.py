# SPDX-License-Identifier: MIT
"""One attempt at a cell of a nightly run, under way on a host of a fleet."""

from __future__ import annotations

import re
import secrets
import time

from harness.fleet.placement import FleetHost
from harness.lab.matrix import Cell

SPARE_S = 345.0
"""Seconds that an attempt may take beyond its run's time limit, to end its guest and to send its records."""


class FleetAttempt:
    """One attempt at a cell, under way on ``host``. ``runs`` are the run directories of the previous attempt.

    ``words`` are empty, because the command belongs to the host.
    """

    def __init__(self, cell: Cell, number: int, runs: list[str], host: FleetHost, seconds: float) -> None:
        slug = re.sub(r"[^A-Za-z0-9_.-]", "-", cell.id)[:120]
        self.id = f"{slug}-{number}-{secrets.token_hex(6)}"
        self.cell = cell
        self.number = number
        self.runs = runs
        self.host = host
        self.where = host.name
        self.words: list[str] = []
        self.began = time.monotonic()
        self.ends = float("inf")
        self._seconds = seconds + SPARE_S

    @property
    def stage(self) -> str:
        """``sent`` until its host has started it, then ``under way``. The run's own stages stay on the host until it ends."""
        return "sent" if self.ends == float("inf") else "under way"

    def begin(self) -> None:
        """Count its time from now on: its host has started it. Before, it may wait there for orders of another nightly run."""
        self.began = time.monotonic()
        self.ends = self.began + self._seconds
