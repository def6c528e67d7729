# SPDX-License-Identifier: MIT
"""Injected faults: known misbehaviours of the NT layer (``nt/core/plants.c``), each of which the checker must catch.

They work on every guest that has this layer: the twin, the process and Wine.
"""

from __future__ import annotations

import msgspec


class InjectedFault(msgspec.Struct, frozen=True, kw_only=True):
    """What a fault does, the verdict and rule that must follow from it, and the built-in plan in which it shows."""

    does: str
    verdict: str
    rule: str
    plan: str = "cpu-and-dimm"


INJECTED_FAULTS: dict[str, InjectedFault] = {
    "complete-before-start": InjectedFault(
        does="delivers Complete for a processor before its Start",
        verdict="violated",
        rule="SYNC-START-BEFORE-COMPLETE",
    ),
    "duplicate-start": InjectedFault(
        does="delivers Start twice for one processor", verdict="violated", rule="SYNC-EXACTLY-TWO"
    ),
    "missing-complete": InjectedFault(
        does="never delivers Complete for a processor that runs", verdict="violated", rule="SYNC-START-CLOSED"
    ),
    "wrong-irql": InjectedFault(
        does="calls the callback at DISPATCH_LEVEL", verdict="violated", rule="SYNC-IRQL-PASSIVE"
    ),
    "complete-uncounted": InjectedFault(
        does="delivers Complete while the active count does not include the processor",
        verdict="violated",
        rule="COMPLETE-COUNTED",
    ),
    "async-before-start": InjectedFault(
        does="announces the processor's interface before Start", verdict="violated", rule="SYNC-FIRST"
    ),
    "existing-interleaved": InjectedFault(
        does="completes each existing processor before the next one's Start",
        verdict="violated",
        rule="ADDEX-STARTS-THEN-COMPLETES",
    ),
    "lost-line": InjectedFault(does="loses a line of the debug port", verdict="unknown", rule="CAP-NO-LOSS"),
    "reset-mid-attempt": InjectedFault(
        does="resets the machine between Start and Complete", verdict="unknown", rule="CAP-EPOCH"
    ),
    "stop-unasked": InjectedFault(
        does="stops a device in a rebalance without asking it first",
        verdict="violated",
        rule="REBAL-ORDER",
        plan="rebalance",
    ),
    "early-release": InjectedFault(
        does="releases a device's hardware before it leaves D0",
        verdict="violated",
        rule="REBAL-KMDF-ORDER",
        plan="rebalance",
    ),
}
