# SPDX-License-Identifier: MIT
"""The connection to libvirt: opened, kept, and reopened when it drops. A deadline bounds every call.

libvirt's calls have no deadlines and its events come from a loop that the program runs. One thread per process runs the
loop (libvirt has one for all connections). Calls are made on threads of their own. A thread whose deadline passes is
abandoned; other threads are used again, because on a busy host a new thread waits milliseconds for its first turn.

One thread per connection, the keeper, reopens it whenever it drops. QEMU's events are lost while there is no
connection. The greeting with the next ``monitor`` number shows the gap.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from harness import locks
from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError, MonitorLost
from harness.invocation import invocation
from harness.package import missing_extra

T = TypeVar("T")

RETRY = 0.05
"""Seconds between attempts to connect again."""

KEEP_ALIVE = 10, 6
"""Seconds between two keep-alive messages, and how many may be missing before the connection counts as dropped."""

LONGEST_NAP = 0.25
"""Seconds between two checks that the machine is still there, while there is no connection."""


def load() -> Any:
    """Return the libvirt module, with its event loop running and its messages kept off standard error. Raises MissingPart.

    libvirt-python is compiled where it is installed, against libvirt's headers (its README: "Building").
    """
    try:
        import libvirt
    except ImportError as error:
        raise missing_extra(
            f"libvirt-python cannot be imported: {error}",
            "libvirt",
            f"It is compiled then: {invocation('setup', 'libvirt')} names the Debian packages that this takes.",
            "Or use --backend qemu, which needs no libvirt.",
        ) from error
    with _loading:
        if not _loaded:
            # Each error is raised as an exception as well.
            libvirt.registerErrorHandler(lambda _context, _error: None, None)
            libvirt.virEventRegisterDefaultImpl()
            threading.Thread(target=_run_loop, args=(libvirt,), name="libvirt events", daemon=True).start()
            _loaded.append(libvirt)
    return libvirt


_loading = locks.lock("libvirt loading")
_loaded: list[Any] = []


def _run_loop(libvirt: Any) -> None:
    # A timer keeps the loop from ending while nothing else is registered in it.
    libvirt.virEventAddTimeout(1000, lambda _timer, _opaque: None, None)
    while True:
        with contextlib.suppress(libvirt.libvirtError):
            libvirt.virEventRunDefaultImpl()


class _Worker:
    """A thread that makes one call after another. Between two it waits among the ``idle``. A stuck one is abandoned."""

    idle: ClassVar[list[_Worker]] = []

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        threading.Thread(target=self._work, name="libvirt call", daemon=True).start()

    @classmethod
    def take(cls) -> _Worker:
        try:
            return cls.idle.pop()
        except IndexError:
            return cls()

    def give(self, act: Callable[[], T]) -> Future[T]:
        result: Future[T] = Future()
        self._calls.put((act, result))
        return result

    def _work(self) -> None:
        while True:
            act, result = self._calls.get()
            try:
                done = functools.partial(result.set_result, act())
            except BaseException as error:  # noqa: BLE001  raised where the caller is
                done = functools.partial(result.set_exception, error)
            self.idle.append(self)
            done()
            # Nothing may keep the call's objects alive until the next one comes.
            del act, result, done


def bounded(act: Callable[[], T], deadline: Deadline) -> T:
    """Return what ``act`` returns, or raise what it raises. Raises TimeoutError when the deadline passes first."""
    return begun(act)(deadline)


def begun(act: Callable[[], T]) -> Callable[[Deadline], T]:
    """Begin a call and return a function that waits for it: it returns, or raises, as :func:`bounded` does."""
    result = _Worker.take().give(act)
    return lambda deadline: result.result(deadline.remaining())


def is_remote(uri: str) -> bool:
    """Return whether a URI names a host. Its machines are reached by that name even if it is this host."""
    return bool(urlsplit(uri).hostname)


def words(error: Any) -> str:
    """Return libvirt's words for an error, in one line."""
    return " ".join(str(error.get_error_message() or error).split())


class LibvirtLink:
    """One connection: libvirt's object, the ``domain`` looked up on it, and its ``number``, 1 for the first."""

    def __init__(self, connection: Any, number: int) -> None:
        self.connection = connection
        self.number = number
        self.domain: Any = None
        self.leave: list[Callable[[], object]] = []

    def dropped(self, error: Any) -> bool:
        """Return whether ``error`` is the connection's own, so that the call's result is unknown."""
        libvirt = load()
        return error.get_error_domain() == libvirt.VIR_FROM_RPC or not self.connection.isAlive()

    def close(self) -> None:
        """Close it, unless it is closed already."""
        libvirt = load()
        for act in self.leave:
            with contextlib.suppress(libvirt.libvirtError):
                act()
        # libvirt closes the socket when nothing refers to the connection any more; a domain does.
        self.domain = None
        with contextlib.suppress(libvirt.libvirtError):
            self.connection.close()


class Connection:
    """One machine's connection to libvirt at ``uri``, "" for libvirt's own choice.

    ``joined`` is called with each new link before it is used. If libvirt refuses a call there, the attempt ends.
    ``check`` raises when the machine is gone. ``number`` counts links.
    """

    def __init__(
        self, uri: str, *, joined: Callable[[LibvirtLink], None], check: Callable[[str], None]
    ) -> None:
        self.uri = uri
        self.number = 0
        self._joined = joined
        self._check = check
        self._changed = locks.condition("libvirt connection")
        self._link: LibvirtLink | None = None
        self._closed = False
        self._why = ""
        self._keeper: threading.Thread | None = None

    def open(self, deadline: Deadline) -> LibvirtLink:
        """Connect. Raises MissingPart, InfrastructureError with libvirt's words."""
        libvirt = load()
        try:
            link = bounded(self._connect, deadline)
        except TimeoutError:
            raise self._unreachable(f"no answer within {deadline.seconds:.3g} s") from None
        except libvirt.libvirtError as error:
            raise self._unreachable(words(error)) from error
        self.uri = link.connection.getURI()
        self._publish(link)
        self._keeper = threading.Thread(target=self._keep, name=f"libvirt {self.uri}", daemon=True)
        self._keeper.start()
        return link

    def _unreachable(self, why: str) -> HarnessError:
        return InfrastructureError(
            f"cannot connect to libvirt at {self.uri or 'its usual place'}: {why}",
            hint="Is libvirtd or virtqemud running there, and may you use it? 'virsh -c URI version' must answer.",
        )

    def _connect(self) -> LibvirtLink:
        libvirt = load()
        connection = libvirt.open(self.uri or None)
        link = LibvirtLink(connection, self.number + 1)
        try:
            # Failures are ignored: libvirt drivers that run in this process have neither feature.
            with contextlib.suppress(libvirt.libvirtError):
                connection.setKeepAlive(*KEEP_ALIVE)
            with contextlib.suppress(libvirt.libvirtError):
                connection.registerCloseCallback(lambda _connection, _reason, _opaque: self.lost(link), None)
                link.leave.append(connection.unregisterCloseCallback)
            self._joined(link)
        except BaseException:
            link.close()
            raise
        return link

    def _publish(self, link: LibvirtLink) -> None:
        with self._changed:
            self.number = link.number
            # Checked under the lock: a link that drops later finds itself published, and :meth:`lost` takes it back.
            usable = not self._closed and link.connection.isAlive()
            self._link = link if usable else None
            self._changed.notify_all()
        if not usable:
            link.close()

    def _keep(self) -> None:
        libvirt = load()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._link is None or self._closed)
                self._changed.wait_for(lambda: self._closed, RETRY)
                if self._closed:
                    return
            try:
                self._publish(self._connect())
            except libvirt.libvirtError as error:
                self._why = words(error)
            except HarnessError:
                return

    def another(self) -> int:
        """Return the number of another client's connection. None of these connections gets it."""
        with self._changed:
            self.number += 1
            return self.number

    def ask(self, link: LibvirtLink, act: Callable[[], T], deadline: Deadline) -> T:
        """Return the answer to a call that changes nothing. Raises InfrastructureError with libvirt's words."""
        libvirt = load()
        try:
            return bounded(act, deadline)
        except TimeoutError:
            raise self._unreachable(f"no answer within {deadline.seconds:.3g} s") from None
        except libvirt.libvirtError as error:
            if link.dropped(error):
                self.lost(link)
            raise self._unreachable(words(error)) from error

    def lost(self, link: LibvirtLink) -> None:
        """Record that the link dropped: it is not used any more, and the keeper makes another."""
        with self._changed:
            if self._link is link:
                self._link = None
                self._changed.notify_all()

    def drop(self) -> None:
        """Close the harness's side, as a crashing proxy would."""
        with self._changed:
            link, self._link = self._link, None
            self._changed.notify_all()
        if link is not None:
            link.close()

    def peek(self) -> LibvirtLink | None:
        """Return the link, or None while there is none."""
        return self._link

    def connected(self, seconds: float) -> bool:
        """Return True once there is a link, False after ``seconds``."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: self._link is not None, seconds))

    def wait(self, deadline: Deadline, doing: str) -> LibvirtLink:
        """Return the link. Raises MonitorLost when the deadline passes first, and what ``check`` raises."""
        while True:
            self._check(doing)
            with self._changed:
                if self._link is not None:
                    return self._link
                if deadline.expired:
                    raise MonitorLost(
                        f"{doing}: no connection to libvirt at {self.uri} within {deadline.seconds:.3g} s"
                        + (f": {self._why}" if self._why else ""),
                        hint="Is libvirtd running there? The guest may continue without it.",
                    )
                self._changed.wait(min(deadline.remaining(), LONGEST_NAP))

    def close(self, seconds: float) -> None:
        """Close, stop connecting, and wait for the keeper."""
        with self._changed:
            self._closed = True
            link, self._link = self._link, None
            self._changed.notify_all()
        if link is not None:
            with contextlib.suppress(TimeoutError):
                bounded(link.close, Deadline(seconds, "close the connection to libvirt"))
        if self._keeper is not None:
            self._keeper.join(seconds)
