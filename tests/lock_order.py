# SPDX-License-Identifier: MIT
"""Checks on every acquisition that the locks of the harness are taken in order, in every test of the suite.

This puts locks that note who holds them in the place of those of :mod:`harness.locks`, and wraps what the harness calls
back. A violation on any thread fails the test during which it happened (``locks_in_order.py``). docs/threads.md has the same
table. Nothing here needs pytest: commands that tests start as processes of their own load it too (``checked_harness.py``).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import threading
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from harness import delicate, locks

TURNS = ("fork server", "machine", "follower", "events", "history")
"""Turns in the order in which they are taken."""

LOCKS = (
    "libvirt connection",
    "libvirt loading",
    "event log",
    "watch",
    "twin",
    "control channel",
    "process machine",
    "process",
    "WinRM sockets",
    "stage view",
)
"""Locks in the order in which they are taken, all of them after every turn."""

GATES = ("QMP reply",)
"""What is waited for with nothing held."""

WAITS = "machine"
"""The turn whose holder may wait: a machine that is closed waits for its QEMU, its monitor and its threads."""

CALLBACKS = [
    ("harness.history.writer", "HistoryWriter.subscribe", "listener"),
    ("harness.run.watch", "Watch.__init__", "alive"),
    ("harness.run.watch", "Watch.wait", "met"),
    ("harness.machine.event_log", "EventLog.__init__", "check"),
    ("harness.machine.monitor", "Monitor.__init__", "failure"),
    ("harness.machine.qmp_client", "Client.__init__", "passed"),
    ("harness.machine.libvirt.connection", "Connection.__init__", "joined"),
    ("harness.machine.libvirt.connection", "Connection.__init__", "check"),
    ("harness.machine.libvirt.calls", "LibvirtCalls.__init__", "ended"),
    ("harness.machine.process", "Process.__init__", "ended"),
    ("harness.capture.live.follower", "Follower.add", "sink"),
    ("harness.guest.twin.control", "ControlChannel.__init__", "on_event"),
    ("harness.guest.twin.control", "ControlChannel.request", "alive"),
    ("harness.guest.twin.guest", "Twin.__init__", "signs.crash"),
    ("harness.guest.twin.guest", "Twin.__init__", "signs.console_bytes"),
]
"""What the harness is given to call back: a module, a method of a class in it, and the argument."""


class LockLedger:
    """What each thread holds, and the violations so far, of all threads."""

    def __init__(self) -> None:
        self.acquisitions = 0
        self._ranks = {name: rank for rank, name in enumerate((*TURNS, *LOCKS))}
        self._mine = threading.local()
        self._violations: dict[str, str] = {}

    @property
    def held(self) -> list[NotedLock]:
        """The locks that this thread holds, in the order in which it took them."""
        if not hasattr(self._mine, "held"):
            self._mine.held = []
        held: list[NotedLock] = self._mine.held
        return held

    def asks(self, lock: NotedLock) -> None:
        """This thread is about to take a lock that it does not hold."""
        self.acquisitions += 1
        if lock.name not in self._ranks:
            self._note(f"takes {lock.name!r}, which has no place in the order")
            return
        for other in self.held:
            if self._ranks.get(other.name, -1) >= self._ranks[lock.name]:
                self._note(f"takes {lock.name!r} while it holds {other.name!r}")

    def calls(self, what: str) -> None:
        """This thread is about to call something back."""
        self._refuse(f"calls {what}", {lock.name for lock in self.held} - set(TURNS))

    def waits(self, what: str, own: NotedLock | None = None) -> None:
        """This thread is about to wait; a condition lets go of its ``own`` lock."""
        self._refuse(f"waits for {what!r}", {lock.name for lock in self.held if lock is not own} - {WAITS})

    def _refuse(self, doing: str, held: set[str]) -> None:
        if held:
            self._note(f"{doing} while it holds {', '.join(map(repr, sorted(held)))}")

    def _note(self, what: str) -> None:
        stack = "".join(traceback.format_stack(limit=12)[:-2])
        self._violations.setdefault(f"{threading.current_thread().name!r} {what}", stack)

    def take(self) -> list[str]:
        """Return the violations noted since the last call, each once, with the stack of its first time."""
        taken, self._violations = self._violations, {}
        return [f"{what}\n{stack}" for what, stack in taken.items()]

    def callback(self, act: Callable[..., Any], what: str) -> Callable[..., Any]:
        """Return ``act``, noting each call of it."""

        @functools.wraps(act, assigned=())
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls(what)
            return act(*arguments, **options)

        return call


class NotedLock:
    """A lock that tells the ledger who holds it."""

    def __init__(self, name: str, ledger: LockLedger, real: Any) -> None:
        self.name = name
        self._ledger = ledger
        self._real = real

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it as threading.Lock does."""
        if self not in self._ledger.held:
            self._ledger.asks(self)
        taken: bool = self._real.acquire(blocking, timeout)
        if taken:
            self._ledger.held.append(self)
        return taken

    def release(self) -> None:
        """Give it back."""
        held = self._ledger.held
        del held[len(held) - 1 - held[::-1].index(self)]
        self._real.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    # What threading.Condition asks of a lock that may be taken more than once.

    def _is_owned(self) -> bool:
        return self in self._ledger.held

    def _release_save(self) -> tuple[int, Any]:
        self._ledger.waits(self.name, self)
        held = self._ledger.held
        depth = held.count(self)
        held[:] = [other for other in held if other is not self]
        return depth, self._real._release_save()

    def _acquire_restore(self, saved: tuple[int, Any]) -> None:
        depth, state = saved
        self._real._acquire_restore(state)
        self._ledger.held.extend([self] * depth)


class NotedGate:
    """A gate that tells the ledger who waits for it."""

    def __init__(self, name: str, ledger: LockLedger) -> None:
        self._name = name
        self._ledger = ledger
        self._real = threading.Lock()
        self._real.acquire()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait until it is opened."""
        self._ledger.waits(self._name)
        return self._real.acquire(blocking, timeout)

    def release(self) -> None:
        """Open it."""
        self._real.release()


class NotedLocks:
    """Stands in for :mod:`harness.locks`."""

    def __init__(self, ledger: LockLedger) -> None:
        self._ledger = ledger

    def turn(self, name: str) -> NotedLock:
        """Make a turn."""
        return NotedLock(name, self._ledger, threading.RLock())

    def lock(self, name: str) -> NotedLock:
        """Make a lock."""
        return NotedLock(name, self._ledger, threading.Lock())

    def condition(self, name: str) -> threading.Condition:
        """Make a condition."""
        return threading.Condition(NotedLock(name, self._ledger, threading.RLock()))  # type: ignore[arg-type]

    def gate(self, name: str) -> NotedGate:
        """Make a gate."""
        return NotedGate(name, self._ledger)


def _wrap(ledger: LockLedger, module: str, method: str, argument: str) -> None:
    """Put the method in the place of itself, with ``argument``, or the field of it behind a dot, noting its calls."""
    owner_name, name = method.split(".")
    owner = getattr(importlib.import_module(module), owner_name)
    original = getattr(owner, name)
    signature = inspect.signature(original)
    parameter, _, field = argument.partition(".")
    assert parameter in signature.parameters, (module, method, argument)
    called = f"{method}({argument})"

    @functools.wraps(original)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        bound = signature.bind(*arguments, **options)
        given = bound.arguments.get(parameter)
        if given is not None:
            noted = {field: ledger.callback(getattr(given, field), called)} if field else None
            changed = (
                ledger.callback(given, called) if noted is None else msgspec.structs.replace(given, **noted)
            )
            bound.arguments[parameter] = changed
        return original(*bound.args, **bound.kwargs)

    setattr(owner, name, wrapped)


def install(ledger: LockLedger) -> None:
    """Make the harness of this process tell ``ledger`` of its locks and callbacks from now on."""
    # A lock of Python's own is taken and released in C, where no handler runs. A noted lock is Python code.
    delicate.protect(*(act.__code__ for act in vars(NotedLock).values() if inspect.isfunction(act)))
    noted = NotedLocks(ledger)
    for kind in ("turn", "lock", "condition", "gate"):
        setattr(locks, kind, getattr(noted, kind))
    for callback in CALLBACKS:
        _wrap(ledger, *callback)
    # The only lock that a module makes when it is imported.
    importlib.import_module("harness.machine.libvirt.connection")._loading = noted.lock("libvirt loading")


LEDGER = LockLedger()
install(LEDGER)
