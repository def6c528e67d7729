# SPDX-License-Identifier: MIT
"""The double and the host on one simulated clock: no time passes while both have bytes to read."""

from __future__ import annotations

from collections import deque

from capture.dbgprint.target import Do, Line, Target

from harness.capture.dbgprint.host import DebuggerHost, Event
from harness.capture.dbgprint.protocol import BREAK_IN

END = 3600.0


def simulate(
    script: list[Do],
    *,
    to_host: Line | None = None,
    to_target: Line | None = None,
    piece: int = 0,
    retries: int = 20,
) -> tuple[Target, DebuggerHost, list[Event]]:
    """Run the script to its end, to a frozen target, or for an hour; return everyone involved."""
    to_host, to_target = to_host or Line([]), to_target or Line([])
    target, host = Target(retries=retries), DebuggerHost()

    def flush() -> None:
        to_host.held = to_target.held = b""

    target.flush = flush
    life = target.run(script)
    inbox: deque[int] = deque()
    events: list[Event] = []
    now = 0.0
    taken = 0

    def exchange() -> None:
        nonlocal taken
        while taken < len(target.sent):
            data = to_host.carry(target.sent[taken])
            taken += 1
            for part in [data[at : at + piece] for at in range(0, len(data), piece)] if piece else [data]:
                events.extend(host.receive(part, now))
        answer()

    def answer() -> None:
        data = host.take()
        assert BREAK_IN not in data
        at = 0
        while at < len(data):
            size = 16 if data[at] == 0x69 else 17 + int.from_bytes(data[at + 6 : at + 8], "little")
            inbox.extend(to_target.carry(data[at : at + size]))
            at += size

    try:
        patience = next(life)
        while now < END:
            exchange()
            if inbox:
                patience = life.send(inbox.popleft())
                continue
            due = now + patience
            if patience and (wake := host.wake) is not None and wake <= due:
                now = max(now, wake)
                events.extend(host.tick(now))
                answer()
                if inbox:
                    continue
                if now < due:
                    patience = due - now
                    continue
            now = due
            patience = life.send(None)
    except StopIteration:
        exchange()
    return target, host, events
