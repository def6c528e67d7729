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

import msgspec

PREFIX = b"HPN-MARK "

LONGEST_LINE = 4096
"""Bytes; a longer line is ignored completely."""

MOST_MARKERS = 10_000
"""The most markers of one build that are read. A real build has some dozens."""

MOST_STEPS = 999
"""Steps, and pieces of a log."""

WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
NUMBER = re.compile(r"[0-9]{1,3}")
VALUE = re.compile(r"[ -~]{1,1000}")
BASE64 = re.compile(r"[A-Za-z0-9+/]{1,1000}={0,2}")


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


def parse(text: str) -> SerialMarker | None:
    """Return the marker whose words after the prefix are ``text``, None if it is not a marker. Never raises."""
    kind, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if kind in ("done", "logs") and not rest:
        return DoneMarker() if kind == "done" else LogsMarker()
    if kind == "warn" and rest:
        return WarnMarker(_printable(rest))
    if kind in ("log", "unread"):
        return _log(kind, rest)
    if kind == "stage" and WORD.fullmatch(rest):
        return StageMarker(rest)
    if kind == "fact":
        key, _, value = rest.partition(" ")
        return (
            FactMarker(key, value.strip()) if WORD.fullmatch(key) and VALUE.fullmatch(value.strip()) else None
        )
    if kind in ("step", "fail"):
        words = rest.split(maxsplit=3)
        if len(words) < 3 or (kind == "step") != (len(words) == 3):
            return (
                FailMarker(*_step(words), "no reason given") if kind == "fail" and _is_step(words) else None
            )
        if not _is_step(words):
            return None
        return (
            StepMarker(*_step(words)) if kind == "step" else FailMarker(*_step(words), _printable(words[3]))
        )
    return None


def _log(kind: str, rest: str) -> LogMarker | UnreadMarker | None:
    name, _, said = rest.partition(" ")
    if not WORD.fullmatch(name):
        return None
    if kind == "unread":
        return UnreadMarker(name, _printable(said.strip()) or "no reason given")
    words = said.split()
    if len(words) != 3 or not _is_count(words) or not BASE64.fullmatch(words[2]):
        return None
    return LogMarker(name, int(words[0]), int(words[1]), words[2])


def _is_count(words: list[str]) -> bool:
    return (
        all(NUMBER.fullmatch(word) for word in words[:2])
        and 1 <= int(words[0]) <= int(words[1]) <= MOST_STEPS
    )


def _is_step(words: list[str]) -> bool:
    return len(words) >= 3 and _is_count(words) and WORD.fullmatch(words[2]) is not None


def _step(words: list[str]) -> tuple[int, int, str]:
    return int(words[0]), int(words[1]), words[2]


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:1000]


class SerialMarkerReader:
    """A reader of the markers in COM1's bytes, in pieces of any size.

    ``malformed`` counts lines with the prefix that are not markers, ``oversized`` lines that were too long.
    """

    def __init__(self) -> None:
        self.malformed = 0
        self.oversized = 0
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
                self.oversized += 1
                self._line = b""

    def _finish(self, piece: bytes) -> SerialMarker | None:
        self._extend(piece)
        line, self._line = self._line, b""
        skipped, self._skipping = self._skipping, False
        place = line.find(PREFIX)
        if skipped or place < 0:
            return None
        marker = parse(line[place + len(PREFIX) :].decode("utf-8", "replace"))
        self.malformed += marker is None
        return marker
