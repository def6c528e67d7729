# SPDX-License-Identifier: MIT
"""Budgets: files are cut back however fast they are written, and what was cut is counted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.capture.live.bounds import kept_small
from harness.capture.live.budget import RunBudget
from harness.capture.live.channel_limits import ChannelLimits
from harness.capture.live.follower import Follower
from harness.deadline import Deadline
from harness.history.record import Channel

KEPT = 100_000


@contextmanager
def flooded(file: Path, line: str) -> Iterator[subprocess.Popen[bytes]]:
    """Append lines to a file without end, each with a write of its own, while the block runs."""
    endless = f"while :; do echo '{line}'; done"
    with file.open("ab") as out, subprocess.Popen(["sh", "-c", endless], stdout=out) as writer:
        try:
            yield writer
        finally:
            writer.kill()


def test_what_comes_beyond_the_limit_is_cut_and_counted(tmp_path: Path) -> None:
    """The sink gets the first bytes, all of them; the file keeps just those, and the rest is counted."""
    file = tmp_path / "log"
    file.touch()
    budget = RunBudget(ChannelLimits(channel_limit=KEPT)).channel("console", file)
    got = bytearray()
    follower = Follower()
    follower.add(file, got.extend, budget=budget)
    with file.open("ab", buffering=0) as writer:
        for number in range(20_000):
            writer.write(b"%09d\n" % number)
            if number % 5000 == 4999:
                follower.drain()
    follower.close()
    assert b"".join(b"%09d\n" % number for number in range(10_000)) == bytes(got) == file.read_bytes()
    assert (KEPT, 20_000 * 10 - KEPT) == (budget.bytes, budget.dropped)
    assert "the guest wrote more than 100000 bytes (--channel-limit)" == budget.cut


def test_a_flood_takes_little_room_and_no_reader_waits_for_its_end(tmp_path: Path) -> None:
    """Whoever writes without end keeps neither a drain nor the disk: the file stays small while the follower lives."""
    file = tmp_path / "log"
    file.touch()
    budget = RunBudget(ChannelLimits(channel_limit=KEPT)).channel("console", file)
    follower = Follower()
    follower.add(file, lambda _: None, budget=budget)
    follower.start()
    # Five MiB of one word are 900,000 writes of the shell.
    with flooded(file, "flood " * 100):
        Deadline(30, "the flood").poll(lambda: budget.dropped > 5 << 20)
        follower.drain()
        follower.close()
    budget._run.trim()
    assert KEPT == file.stat().st_size
    # What comes while it is cut back is not seen: the figure is a lower bound.
    assert budget.dropped > 5 << 20


def test_files_that_nobody_reads_are_kept_small(tmp_path: Path) -> None:
    """A machine that is not recorded, such as one that a template is built on, fills no disk either."""
    file = tmp_path / "log"
    file.touch()
    with flooded(file, "flood"), kept_small(file, limits=ChannelLimits(channel_limit=KEPT)):
        largest = max(
            Deadline(30, "the flood").poll(
                lambda: file.stat().st_size if file.stat().st_size >= KEPT else None
            )
            for _ in range(100)
        )
    # A shell writes some ten MiB a second, and the file is looked at every 20 ms; a busy host may be late.
    assert largest < 64 << 20


def test_channels_share_the_budget_of_the_run(tmp_path: Path) -> None:
    """The channel that comes last gets what the others left."""
    run = RunBudget(ChannelLimits(channel_limit=1000, run_limit=1500))
    first, second = (run.channel(name, tmp_path / name) for name in ("first", "second"))
    for one in (first, second):
        assert one.path is not None
        one.path.write_bytes(b"x" * 900)
        descriptor = os.open(one.path, os.O_RDWR)
        one.fit(descriptor)
        os.close(descriptor)
    assert (900, "", 600, 300) == (first.bytes, first.cut, second.bytes, second.dropped)
    assert "the guest wrote more than 600 bytes (--run-limit)" == second.cut


@pytest.mark.parametrize(
    ("limits", "admitted", "option"),
    [
        (ChannelLimits(channel_records=3), [3, 3], "channel-records"),
        (ChannelLimits(channel_records=3, run_records=5), [3, 2], "run-records"),
    ],
)
def test_records_are_counted_by_channel_and_run(
    limits: ChannelLimits, admitted: list[int], option: str
) -> None:
    """So many are admitted, of the channel and of all; the rest is left out, and the account says so."""
    run = RunBudget(limits)
    channels = [run.channel(name) for name in ("debugcon", "dbgprint")]
    assert admitted == [sum(one.admit() for _ in range(10)) for one in channels]
    account = channels[-1].account(
        Channel(name="dbgprint", records=99, closed=True), driver_records=admitted[-1]
    )
    assert (False, 10 - admitted[-1], True) == (account.closed, account.left_out, option in account.cut)
    assert admitted[-1] == account.records


def test_a_channel_within_its_budget_has_the_account_it_has() -> None:
    """Nothing is added to an account of which nothing was cut."""
    account = Channel(name="debugcon", records=3, closed=True)
    assert account is RunBudget(ChannelLimits()).channel("debugcon").account(account, driver_records=0)
