# SPDX-License-Identifier: MIT
"""The guest's console: kept whole in console.log; lines that tell of a crash become records."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.history.record import Console

LONGEST_LINE = 1024
"""Bytes of a console line that are looked at; the rest of a longer one is skipped."""

_CRASH = re.compile(
    r"Kernel panic - not syncing|kernel BUG at |BUG: |^(\[[ .0-9]+\] )?BUG \S+ \(|Oops: |\*\*\* STOP: |KERNEL_SECURITY_CHECK|general protection fault"
)
_WARNING = re.compile(
    r"WARNING: CPU: |unaligned hotplug range|add_memory failed|rcu_\w+ detected stalls|soft lockup"
    r"|INFO: task .* blocked for more than|hpnotify: trouble: "
)


class ConsoleWatch:
    """Bytes in, :class:`Console` records out for lines that matter. Remembers the last line seen."""

    def __init__(self) -> None:
        self.last = ""
        self.bytes = 0
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[Console]:
        """Yield a record for each completed line that tells of a crash or a warning."""
        self.bytes += len(data)
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
                continue
            yield from self._judge(line)
        if self._skipping:
            rest = b""
        elif len(rest) > LONGEST_LINE:
            yield from self._judge(rest)
            self._skipping = True
            rest = b""
        self._rest = rest

    def _judge(self, line: bytes) -> Iterator[Console]:
        text = line[:LONGEST_LINE].decode("utf-8", "replace").strip()
        if not text:
            return
        self.last = text
        if _CRASH.search(text):
            yield Console(text=text, severity="crash")
        elif _WARNING.search(text):
            yield Console(text=text, severity="warning")
