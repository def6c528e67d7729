# SPDX-License-Identifier: MIT
"""What happens to a fleet while a nightly run is under way, by its name in the table of docs/fleet.md."""

from __future__ import annotations

import contextlib
import random
import re
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from harness.deadline import Deadline
from harness.fleet.tls import security
from tests.fleet.conftest import PATIENCE, Fleet
from tests.fleet.namespaces import NetworkFleet
from tests.small_disk import small_disk

HEARTBEAT_S = 5.0
"""Seconds after which the scheduler drops a worker that is stopped."""
SMALL_DISK = 64 << 20
"""Bytes of a disk that becomes full."""
SMALL_PIECE = 16 << 10
FAILED = re.compile(r"^.*: (?!begins|holds)(?:unknown|infrastructure|ended|not sent)", re.MULTILINE)
"""A worker says that an attempt did not hold."""


class Fault(NamedTuple):
    """A fault: what is made before the fleet starts, and what happens at the random moment.

    One with ``network`` needs hosts of their own, and root.
    """

    strike: Callable[[Fleet, random.Random], None]
    prepare: Callable[[Fleet, ExitStack, random.Random], None] = lambda *_: None
    network: bool = False


def kill_worker(fleet: Fleet, _: random.Random) -> None:
    """Kill a worker and start it again, as a service manager does."""
    fleet.last("a").kill()
    fleet.worker("a")


def end_worker(fleet: Fleet, _: random.Random) -> None:
    """End a worker as a service manager does, and start it again."""
    ending = fleet.last("a")
    ending.terminate()
    ending.wait(PATIENCE)
    fleet.worker("a")


def hang_worker(fleet: Fleet, _: random.Random) -> None:
    """Stop a worker until the scheduler has dropped it; then its result is late."""
    hung = fleet.last("a")
    hung.send_signal(signal.SIGSTOP)
    fleet.hosts("b", "c")
    hung.send_signal(signal.SIGCONT)


def cut_link(fleet: Fleet, _: random.Random) -> None:
    """Cut the link of a host until the scheduler has dropped it; then its result is late."""
    assert isinstance(fleet, NetworkFleet)
    fleet.network.link("a", up=False)
    fleet.hosts("b", "c")
    fleet.network.link("a", up=True)


def kill_scheduler(fleet: Fleet, _: random.Random) -> None:
    """Kill the scheduler and start it again."""
    fleet.last("scheduler").kill()
    fleet.scheduler(heartbeat=HEARTBEAT_S)


def kill_nightly(fleet: Fleet, _: random.Random) -> None:
    """Kill the nightly run; the same command goes on."""
    fleet.last("nightly").kill()


def interrupt_nightly(fleet: Fleet, _: random.Random) -> None:
    """End the nightly run as Ctrl-C does."""
    fleet.last("nightly").send_signal(signal.SIGINT)


def cancel_orders(fleet: Fleet, _: random.Random) -> None:
    """Cancel all orders from elsewhere."""
    from distributed import Client, Future

    def cancel() -> None:
        with Client(fleet.url, security=security(fleet.tls), timeout=20, set_as_default=False) as client:
            keys = [key for keys in client.processing().values() for key in keys]
            client.cancel([Future(key, client) for key in keys], force=True)

    fleet.inside(cancel)


def noticed(fleet: Fleet, name: str, found: Callable[[str], object]) -> None:
    """Wait until a process says something from now on, or the nightly run is over."""
    before = len(fleet.said(name))
    Deadline(PATIENCE, f"{name} notices").poll(
        lambda: found(fleet.said(name)[before:]) or fleet.last("nightly").poll() is not None, interval=0.1
    )


def take_results_away(fleet: Fleet, _: random.Random) -> None:
    """Let nobody reach the exchange for a while."""
    place, aside = fleet.place / "results", fleet.place / "results-away"
    place.rename(aside)
    place.touch()
    Deadline(PATIENCE, "an attempt that is not sent").poll(
        lambda: (
            any("not sent yet" in fleet.said(name) for name in "abc")
            or "cannot be" in fleet.said("nightly")
            or fleet.last("nightly").poll() is not None
        ),
        interval=0.2,
    )
    place.unlink()
    aside.rename(place)


def by_sftp(fleet: Fleet, _: ExitStack, __: random.Random) -> None:
    """Let run directories return over the network that is cut."""
    assert isinstance(fleet, NetworkFleet)
    fleet.serve_sftp()


def cut_reception(fleet: Fleet, _: ExitStack, chance: random.Random) -> None:
    """Let the first connection be cut that receives, which is the nightly run's."""
    assert isinstance(fleet, NetworkFleet)
    fleet.piece = SMALL_PIECE
    fleet.serve_sftp().cut_answers_after = chance.randrange(8 << 10, 160 << 10)


def cut_sending(fleet: Fleet, chance: random.Random) -> None:
    """Cut the next connection that sends, in the middle of an attempt."""
    assert isinstance(fleet, NetworkFleet)
    assert fleet.sftp is not None
    fleet.sftp.cut_after = chance.randrange(16 << 10, 80 << 10)
    noticed(fleet, "nightly", lambda said: fleet.sftp is not None and not fleet.sftp.cut_after)


def small(name: str) -> Callable[[Fleet, ExitStack, random.Random], None]:
    """Return what makes a folder of the fleet a small disk."""

    def prepare(fleet: Fleet, stack: ExitStack, _: random.Random) -> None:
        stack.enter_context(small_disk(fleet.place / name, str(SMALL_DISK)))

    return prepare


def fill(folder: Path) -> Path:
    """Fill the disk of a folder to its last byte."""
    filler = folder / ".filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 20)):
            pass
    # A write of several pages may have found no room for its last ones.
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x"):
            pass
    return filler


def fill_worker(fleet: Fleet, _: random.Random) -> None:
    """Fill the disk of a host until a run there has met it."""
    filler = fill(fleet.place / "work-a")
    noticed(fleet, "a", FAILED.search)
    filler.unlink()


def fill_nightly(fleet: Fleet, _: random.Random) -> None:
    """Fill the disk of the nightly run until it has met that."""
    filler = fill(fleet.place / "nightly")
    noticed(fleet, "nightly", lambda said: "No space left" in said)
    filler.unlink()


FAULTS = {
    "a worker is killed, and started again": Fault(kill_worker),
    "a worker is ended, and started again": Fault(end_worker),
    "a worker hangs, and its result is late": Fault(hang_worker),
    "a host is cut off, and comes back": Fault(cut_link, by_sftp, network=True),
    "the scheduler is killed": Fault(kill_scheduler),
    "the nightly run is killed": Fault(kill_nightly),
    "the nightly run is interrupted": Fault(interrupt_nightly),
    "all orders are cancelled": Fault(cancel_orders),
    "results cannot be reached": Fault(take_results_away),
    "transfers are cut": Fault(cut_sending, cut_reception, network=True),
    "the disk of a host is full": Fault(fill_worker, small("work-a"), network=True),
    "the disk of the nightly run is full": Fault(fill_nightly, small("nightly"), network=True),
}
"""What happens to a nightly run, by its name in the table."""
