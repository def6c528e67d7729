# SPDX-License-Identifier: MIT
"""The guest's console: kept whole in console.log. Lines that report a crash become records."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.history.record import Console

LONGEST_LINE = 1024
"""Bytes of a console line that are examined; the rest of a longer one is skipped."""

LARGEST_RECORD = 8192
"""Characters of lines that share a record. Further lines begin another."""

_CRASH = re.compile(
    r"Kernel panic - not syncing|kernel BUG at |BUG: |^(\[[ .0-9]+\] )?BUG \S+ \(|Oops: |\*\*\* STOP: |KERNEL_SECURITY_CHECK|general protection fault"
)
_WARNING = re.compile(
    r"WARNING: CPU: |unaligned hotplug range|add_memory failed|rcu_\w+ detected stalls|soft lockup"
    r"|INFO: task .* blocked for more than|hpnotify: trouble: "
)
_WORDS = (
    b"Kernel panic", b"BUG", b"Oops: ", b"*** STOP: ", b"KERNEL_SECURITY_CHECK", b"general protection fault", b"WARNING: CPU: ",
    b"unaligned hotplug range", b"add_memory failed", b"detected stalls", b"soft lockup", b"INFO: task ", b"hpnotify: trouble: ",
)  # fmt: skip
"""Every line that matters contains one of these. A flood of other lines is skipped at the speed of memory."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""JSON writes each of these as six characters. They are left out here, and console.log has them."""


class ConsoleWatch:
    """Bytes in, :class:`Console` records out for lines that matter. Remembers the last line seen.

    The first line that matters is a record at once, and so is the first that reports a crash. The lines that follow are
    held back and share a record until :meth:`settle` reports a pause. :attr:`waits` says whether to call it.
    """

    def __init__(self) -> None:
        self.last = ""
        self.bytes = 0
        self.waits = False
        self._rest = b""
        self._skipping = False
        self._crashed = False
        self._held: list[Console] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[Console]:
        """Yield the records that are due."""
        self.bytes += len(data)
        text, line_feed, rest = (self._rest + data).rpartition(b"\n")
        if line_feed and self._skipping:
            self._skipping = False
            text = text.partition(b"\n")[2]
        if any(word in text for word in _WORDS):
            for line in text.split(b"\n"):
                yield from self._judge(line)
        else:
            self._remember(text)
        if self._skipping:
            rest = b""
        elif len(rest) > LONGEST_LINE:
            yield from self._judge(rest)
            self._skipping = True
            rest = b""
        self._rest = rest

    def settle(self) -> Iterator[Console]:
        """Yield what was held back, after a pause."""
        if self._held:
            yield self._joined()
        else:
            self.waits = self._crashed = False

    def _remember(self, text: bytes) -> None:
        """Keep the last line of ``text`` that is not blank."""
        tail = text.rstrip()
        if tail:
            line = tail[tail.rfind(b"\n") + 1 :]
            self.last = line[:LONGEST_LINE].decode("utf-8", "replace").strip()

    def _judge(self, line: bytes) -> Iterator[Console]:
        text = line[:LONGEST_LINE].decode("utf-8", "replace").strip()
        if not text:
            return
        self.last = text
        crash = _CRASH.search(text) is not None
        if crash or _WARNING.search(text):
            yield from self._told(
                Console(text=_CONTROLS.sub("\ufffd", text), severity="crash" if crash else "warning")
            )

    def _told(self, record: Console) -> Iterator[Console]:
        if self.waits and (self._crashed or record.severity != "crash"):
            if self._size + len(record.text) > LARGEST_RECORD:
                yield self._joined()
            self._held.append(record)
            self._size += len(record.text) + 1
            return
        if self._held:
            yield self._joined()
        self.waits = True
        self._crashed = self._crashed or record.severity == "crash"
        yield record

    def _joined(self) -> Console:
        held, self._held, self._size = self._held, [], 0
        crash = any(one.severity == "crash" for one in held)
        return Console(text="\n".join(one.text for one in held), severity="crash" if crash else "warning")
