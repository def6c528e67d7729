# SPDX-License-Identifier: MIT
"""The known order of two records, and the reason: the edges of the happens-before graph.

No order from clocks alone. Within one driver the sequence number decides: number and counter were taken under one
lock. Between two drivers of one guest the performance counter decides, because both read the same one, but only when
the readings differ. Between host and guest only receipt decides, in one direction: what arrived before a command was
sent cannot be its consequence.

:func:`contradiction` looks for the shortest chain of known edges that runs against an order the contract requires.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from harness.contract.rules.rule import OrderReason
from harness.history.driver import DriverRecord
from harness.history.record import Add, Record


def edge(first: Record, second: Record, *, clock: bool = True) -> OrderReason | None:
    """Return the reason why ``first`` comes before ``second``, or None if the order is not known.

    Pass ``clock=False`` when the counter contradicts the sequence numbers: then it proves nothing.
    """
    if isinstance(first, DriverRecord) and isinstance(second, DriverRecord):
        if first.boot == second.boot and first.driver == second.driver:
            if first.seq < second.seq:
                return OrderReason(
                    before=first, after=second, kind="program order",
                    reason=f"both were logged by driver {first.driver} under its lock "
                    f"and #{first.seq} precedes #{second.seq}",
                )  # fmt: skip
            return None
        if clock and first.qpc < second.qpc:
            return OrderReason(
                before=first, after=second, kind="clock",
                reason=f"both drivers read the same performance counter and {first.qpc} is less than {second.qpc}",
            )  # fmt: skip
        return None
    if (
        isinstance(first, DriverRecord)
        and isinstance(second, Add)
        and second.phase == "begin"
        and first.n < second.n
    ):
        return OrderReason(
            before=first, after=second, kind="receipt",
            reason=f"record {first.n} had arrived when the host was about to send the command of record {second.n}",
        )  # fmt: skip
    if isinstance(first, Add) and isinstance(second, Add) and first.n < second.n:
        return OrderReason(
            before=first, after=second, kind="program order",
            reason="the host wrote both, one after the other",
        )  # fmt: skip
    return None


def contradiction(
    before: Record, after: Record, known: Iterable[Record] = (), *, clock: bool = True
) -> list[OrderReason]:
    """Return the shortest chain that shows that ``after`` comes before ``before``; empty if there is none.

    The chain may run through further records, ``known``. The search is breadth first, so no shorter chain exists.
    """
    nodes: list[Record] = [
        after,
        *(node for node in known if node is not before and node is not after),
        before,
    ]
    came: dict[int, tuple[int, OrderReason]] = {}
    queue = deque([0])
    goal = len(nodes) - 1
    while queue:
        here = queue.popleft()
        for there in range(1, len(nodes)):
            if there == here or there in came:
                continue
            found = edge(nodes[here], nodes[there], clock=clock)
            if found is None:
                continue
            came[there] = (here, found)
            if there == goal:
                chain: list[OrderReason] = []
                while there:
                    there, found = came[there]
                    chain.append(found)
                return chain[::-1]
            queue.append(there)
    return []
