# SPDX-License-Identifier: MIT
"""Markers: lines that a guest writes on COM1 while it is installed, by which the host follows the installation.

::

    HPN-MARK stage specialize             a stage of Windows Setup begins, by its name in harness.template.stage.
    HPN-MARK step 3 12 winrm              provisioning step 3 of 12 begins. The previous one has succeeded.
    HPN-MARK fact certificate 9f86d081…   a fact that only the guest knows and the manifest stores.
    HPN-MARK warn Access is denied        something that the template can do without failed, in the current step.
    HPN-MARK fail 3 12 winrm Access is …  that step failed, and why. Only logs follow.
    HPN-MARK log setupact 2 9 H4sIAAAA…   piece 2 of 9 of a log, gzip in base64 (harness.template.serial_logs).
    HPN-MARK unread cbs Access is …       that log cannot be sent, and why.
    HPN-MARK logs                         no more logs follow.
    HPN-MARK done                         all is done. The guest shuts down next.

COM1 is shared: firmware draws its screen there, Windows' boot loader and its emergency console write to it. So a marker
may be anywhere in a line, and everything else on the port is ignored. A guest is not trusted: lines, counts and
values are bounded. An invalid marker is counted, and is never an error.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

PREFIX = b"HPN-MARK "

LONGEST_LINE = 4096
"""Bytes; a longer line is ignored completely."""

MOST_MARKERS = 10_000
"""The most markers of one build that are read. A real build has some dozens."""

MOST_STEPS = 999
"""Steps, and pieces of a log."""


class StageMarker(msgspec.Struct, frozen=True, tag="stage"):
    """Stage ``stage`` begins. The reader decides whether there is a stage of that name."""

    stage: str


class StepMarker(msgspec.Struct, frozen=True, tag="step"):
    """Provisioning step ``number`` of ``count`` begins, 1 ≤ number ≤ count."""

    number: int
    count: int
    name: str


class FailMarker(msgspec.Struct, frozen=True, tag="fail"):
    """That step failed; ``message`` is the guest's, printable and at most 1000 characters long."""

    number: int
    count: int
    name: str
    message: str


class WarnMarker(msgspec.Struct, frozen=True, tag="warn"):
    """Part of the current step failed, and the step continues; ``message`` as in :class:`FailMarker`."""

    message: str


class LogMarker(msgspec.Struct, frozen=True, tag="log"):
    """Piece ``number`` of ``count`` of the log ``name``; ``data`` is base64."""

    name: str
    number: int
    count: int
    data: str


class UnreadMarker(msgspec.Struct, frozen=True, tag="unread"):
    """The log ``name`` cannot be sent; ``message`` as in :class:`FailMarker`."""

    name: str
    message: str


class LogsMarker(msgspec.Struct, frozen=True, tag="logs"):
    """No more logs follow."""


class FactMarker(msgspec.Struct, frozen=True, tag="fact"):
    """A fact that only the guest knows: ``value`` is printable ASCII."""

    key: str
    value: str


class DoneMarker(msgspec.Struct, frozen=True, tag="done"):
    """The last marker."""


SerialMarker = (
    StageMarker
    | StepMarker
    | WarnMarker
    | FailMarker
    | FactMarker
    | LogMarker
    | UnreadMarker
    | LogsMarker
    | DoneMarker
)


_COUNTED = r"(?P<number>[0-9]{1,3})\s+(?P<count>[0-9]{1,3})"
_NAME = r"(?P<name>[a-z0-9][a-z0-9-]{0,39})"
FORMS: tuple[tuple[type[SerialMarker], str], ...] = (
    (StageMarker, r"stage \s*(?P<stage>[a-z0-9][a-z0-9-]{0,39})"),
    (StepMarker, rf"step \s*{_COUNTED}\s+{_NAME}"),
    (FactMarker, r"fact \s*(?P<key>[a-z0-9][a-z0-9-]{0,39}) \s*(?P<value>[ -~]{1,1000})"),
    (WarnMarker, r"warn \s*(?P<message>.+)"),
    (FailMarker, rf"fail \s*{_COUNTED}\s+{_NAME}(?:\s+(?P<message>.+))?"),
    (LogMarker, rf"log \s*{_NAME} \s*{_COUNTED}\s+(?P<data>[A-Za-z0-9+/]{{1,1000}}={{0,2}})"),
    (UnreadMarker, rf"unread \s*{_NAME}(?: \s*(?P<message>.+))?"),
    (LogsMarker, "logs"),
    (DoneMarker, "done"),
)
"""The grammar: the words of each marker after the prefix."""


def parse(text: str) -> SerialMarker | None:
    """Return the marker whose words after the prefix are ``text``, None if it is not a marker. Never raises."""
    for kind, form in FORMS:
        if found := re.fullmatch(form, text.strip(), re.DOTALL):
            values: dict[str, Any] = found.groupdict()
            if "message" in values:
                values["message"] = _printable(values["message"] or "no reason given")
            if "count" in values:
                number, count = values["number"], values["count"] = int(found["number"]), int(found["count"])
                if not 1 <= number <= count <= MOST_STEPS:
                    return None
            return kind(**values)
    return None


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:1000]


class SerialMarkerReader:
    """A reader of the markers in COM1's bytes, in pieces of any size."""

    def __init__(self) -> None:
        self._found = 0
        self._line = b""
        self._skipping = False

    def feed(self, piece: bytes) -> list[SerialMarker]:
        """Take the next bytes; return the markers that they complete, in order. A marker counts once its line has ended."""
        markers = []
        *ended, rest = piece.replace(b"\r", b"\n").split(b"\n")
        for end in ended:
            marker = self._finish(end)
            if marker is not None and self._found < MOST_MARKERS:
                self._found += 1
                markers.append(marker)
        self._extend(rest)
        return markers

    def _extend(self, piece: bytes) -> None:
        if not self._skipping:
            self._line += piece
            if len(self._line) > LONGEST_LINE:
                self._skipping = True
                self._line = b""

    def _finish(self, piece: bytes) -> SerialMarker | None:
        self._extend(piece)
        line, self._line = self._line, b""
        skipped, self._skipping = self._skipping, False
        place = line.find(PREFIX)
        if skipped or place < 0:
            return None
        return parse(line[place + len(PREFIX) :].decode("utf-8", "replace"))
