# SPDX-License-Identifier: MIT
"""Calls to libvirt and queries to QEMU through it, each with its outcome in the history."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from harness.deadline import Deadline
from harness.errors import CommandRefused, MonitorLost
from harness.machine.event_log import EventLog
from harness.machine.libvirt.connection import Connection, LibvirtLink, bounded, load, words
from harness.machine.machine import Drop
from harness.machine.monitor import outcome

T = TypeVar("T")


class ConnectionDropped(Exception):
    """The connection dropped during a call. It is unknown whether libvirt carried it out."""


class LibvirtCalls:
    """The requests of one machine to libvirt. ``ended`` raises MachineFailed if the domain of a refused call has no guest.

    ``fault`` is the fault to inject into the next call, if any.
    """

    def __init__(
        self, connection: Connection, log: EventLog, ended: Callable[[LibvirtLink, str], None]
    ) -> None:
        self.fault: Drop | None = None
        self._connection = connection
        self._log = log
        self._ended = ended
        self._ids = itertools.count(1)

    def call(
        self, name: str, arguments: dict[str, Any], act: Callable[[LibvirtLink], object], deadline: Deadline
    ) -> None:
        """Make a call that changes something.

        Raises CommandRefused with libvirt's words, MachineFailed, and MonitorLost when the connection dropped: it is
        restored then, so that the caller can ask what happened.
        """
        try:
            self._exchange(name, arguments, act, deadline, lambda _: {"return": {}})
        except ConnectionDropped as dropped:
            self._connection.wait(deadline, name)
            raise MonitorLost(
                f"{name}: the connection to libvirt dropped before the reply; it is restored",
                hint="libvirt may or may not have carried the call out: ask it before making it again.",
            ) from dropped

    def rival(self, name: str, wait: Callable[[], object]) -> None:
        """Record the result of another client's call that was made at the same time. Raises CommandRefused."""
        libvirt = load()
        number = f"harness-{next(self._ids)}"
        connection = self._connection.another()
        self._log.passed("out", {"execute": name, "id": number}, connection)
        try:
            wait()
        except libvirt.libvirtError as error:
            said = {"class": _code(error), "desc": words(error)}
            self._log.passed("in", {"error": said, "id": number}, connection)
            raise _refused(name, error) from error
        self._log.passed("in", {"return": {}, "id": number}, connection)

    def query(self, command: str, arguments: dict[str, Any], deadline: Deadline) -> Any:
        """Query QEMU and return its answer. When the connection drops, ask again. Raises as :meth:`call`."""
        import libvirt_qemu

        question: dict[str, Any] = {"execute": command}
        if arguments:
            question["arguments"] = arguments
        text = msgspec.json.encode(question).decode()

        def ask(link: LibvirtLink) -> str:
            return str(libvirt_qemu.qemuMonitorCommand(link.domain, text, 0))

        while True:
            with contextlib.suppress(ConnectionDropped):
                return self._exchange(command, arguments, ask, deadline, _decoded)

    def _exchange(
        self,
        name: str,
        arguments: dict[str, Any],
        act: Callable[[LibvirtLink], T],
        deadline: Deadline,
        reply: Callable[[T], dict[str, Any]],
    ) -> Any:
        """Make one call; record it and the result that ``reply`` makes of its outcome. Also raises ConnectionDropped."""
        libvirt = load()
        self._log.check(name)
        link = self._connection.wait(deadline, name)
        number = f"harness-{next(self._ids)}"
        message: dict[str, Any] = {"execute": name}
        if arguments:
            message["arguments"] = arguments
        self._log.passed("out", {**message, "id": number}, link.number)
        if self._strikes("before-command"):
            raise ConnectionDropped
        try:
            value = bounded(lambda: act(link), deadline)
        except TimeoutError:
            raise MonitorLost(
                f"{name}: libvirt did not answer within {deadline.seconds:.3g} s",
                hint="libvirtd or QEMU is stuck; 'virsh list' and 'virsh qemu-monitor-command' show which.",
            ) from None
        except libvirt.libvirtError as error:
            if link.dropped(error):
                self._connection.lost(link)
                raise ConnectionDropped from error
            said = {"class": _code(error), "desc": words(error)}
            self._log.passed("in", {"error": said, "id": number}, link.number)
            if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
                self._ended(link, name)
            raise _refused(name, error) from error
        if self._strikes("before-reply"):
            raise ConnectionDropped
        answer = reply(value)
        self._log.passed("in", {**answer, "id": number}, link.number)
        return outcome(name, answer)

    def _strikes(self, when: Drop) -> bool:
        """Drop the connection if that fault was requested for this moment."""
        if self.fault != when:
            return False
        self.fault = None
        self._connection.drop()
        return True


def _decoded(reply: str) -> dict[str, Any]:
    """Return QEMU's reply as it came through libvirt, without libvirt's own id."""
    answer: dict[str, Any] = msgspec.json.decode(reply)
    return {key: value for key, value in answer.items() if key != "id"}


_LEVELS = ("VIR_ERR_NONE", "VIR_ERR_WARNING", "VIR_ERR_ERROR")
"""Levels of errors, whose names look like those of codes."""


def _code(error: Any) -> str:
    """Return the name of an error's code, ``VIR_ERR_INTERNAL_ERROR``."""
    for name, code in vars(load()).items():
        if name.startswith("VIR_ERR_") and code == error.get_error_code() and name not in _LEVELS:
            return str(name)
    return f"libvirt error {error.get_error_code()}"


def _refused(name: str, error: Any) -> CommandRefused:
    return CommandRefused(
        f"libvirt refused {name}: {words(error)}",
        command=name,
        error_class=_code(error),
        description=words(error),
    )
