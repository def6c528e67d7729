# SPDX-License-Identifier: MIT
"""Injected faults: known misbehaviours of the NT layer (``nt/core/plants.c``), each of which the checker must catch.

They work on every guest that has this layer: the twin, the process and Wine. Wine's devices are Wine's own. A rebalance
without a query (``stop-unasked``) and devices that opted out (``opt-out-ignored``) therefore do not show there.
"""

from __future__ import annotations

import msgspec


class InjectedFault(msgspec.Struct, frozen=True, kw_only=True):
    """What a fault does, the verdict and the rule that must follow from it, and the built-in plan in which it shows.

    ``also`` are other rules that the same fault breaks, and that have no fault of their own.
    """

    does: str
    verdict: str
    rule: str
    plan: str = "cpu-and-dimm"
    also: tuple[str, ...] = ()


def _violates(
    rule: str, does: str, *, plan: str = "cpu-and-dimm", also: tuple[str, ...] = ()
) -> InjectedFault:
    return InjectedFault(does=does, verdict="violated", rule=rule, plan=plan, also=also)


class UnplugFault(InjectedFault, frozen=True, kw_only=True):
    """A fault of the twin's Linux: its answer to unplug requests, after ``late`` seconds."""

    verdict: str = "unknown"
    rule: str = "HOST-AGREED"
    plan: str = "unplug"
    answer: str
    late: float = 0.0


INJECTED_FAULTS: dict[str, InjectedFault] = {
    "complete-before-start": InjectedFault(
        does="delivers Complete for a processor before its Start",
        verdict="violated",
        rule="SYNC-START-BEFORE-COMPLETE",
    ),
    "duplicate-start": InjectedFault(
        does="delivers Start twice for one processor",
        verdict="violated",
        rule="SYNC-EXACTLY-TWO",
        also=("EXPECT",),
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
        does="announces the processor's interface before Start",
        verdict="violated",
        rule="SYNC-FIRST",
        also=("ASYNC-AFTER-SCHEDULABLE",),
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
    "unknown-state": _violates("SYNC-STATE-VALID", "calls the callback with an invalid state"),
    "moved-context": _violates(
        "SYNC-CONTEXT-IDENTITY", "calls the callback with another context than was registered"
    ),
    "failed-and-completed": _violates(
        "SYNC-TERMINAL-EXCLUSIVE", "delivers Failure and then Complete for one processor"
    ),
    "forgotten-driver": _violates(
        "SYNC-ALL-REGISTERED", "tells only the callback that was registered first", plan="without-existing"
    ),
    "told-apart": _violates(
        "SYNC-AGREE", "tells one callback of a failure and the other of success", plan="without-existing"
    ),
    "no-barrier": _violates(
        "SYNC-BARRIER",
        "completes a processor for one callback before the other's Start",
        plan="without-existing",
    ),
    "another-number": _violates(
        "SYNC-SAME-IDENTITY", "names another processor's number in Complete", also=("NUM-INDEX-AGREES",)
    ),
    "runs-early": _violates(
        "NO-RUN-BEFORE-START-DONE", "runs code on the new processor before Start returned"
    ),
    "failure-before-start": _violates(
        "SYNC-START-BEFORE-FAILURE", "delivers Failure for a processor before its Start", plan="veto"
    ),
    "failure-without-reason": _violates(
        "FAIL-STATUS-ERROR", "delivers Failure with a status of success", plan="veto"
    ),
    "counted-at-failure": _violates(
        "FAIL-NOT-COUNTED",
        "counts a refused processor as active until its Failure was delivered",
        plan="veto",
        also=("COUNT-MONOTONIC",),
    ),
    "completed-after-veto": _violates(
        "VETO-NO-COMPLETE", "delivers Complete for a refused processor", plan="veto"
    ),
    "missing-failure": _violates(
        "VETO-FAILURE-DELIVERED", "tells nobody whether a processor was added or refused", plan="two-drivers"
    ),
    "existing-again": _violates(
        "ADDEX-WITHIN-REGISTER",
        "reports an existing processor again after the registration returned",
    ),
    "existing-missed": _violates("ADDEX-ONE-START-EACH", "leaves out an existing processor at registration"),
    "existing-unfinished": _violates(
        "ADDEX-ONE-COMPLETE-EACH", "delivers no Complete for an existing processor at registration"
    ),
    "existing-goes-on": _violates(
        "ADDEX-VETO-STOPS", "goes on with Starts at registration after one was refused", plan="veto-existing"
    ),
    "existing-not-failed": _violates(
        "ADDEX-VETO-FAILURES",
        "delivers no Failure at registration after a Start was refused",
        plan="veto-existing",
    ),
    "refused-called": _violates(
        "NULL-NO-CALLBACKS", "calls a registration that returned NULL", plan="veto-existing"
    ),
    "existing-unasked": _violates(
        "NOFLAG-SILENT",
        "reports existing processors to a registration that did not ask for them",
        plan="without-existing",
    ),
    "others-told": _violates(
        "ADDEX-OTHERS-SILENT",
        "tells every other driver of existing processors, too",
        plan="two-drivers",
        also=("HOST-CAUSE",),
    ),
    "impossible-number": _violates("NUM-RANGE", "names number 64 in a group in Start"),
    "second-group": _violates("NUM-GROUP0", "names group 1 in Start on a machine with one group"),
    "number-again": _violates("NUM-UNIQUE", "gives each added processor the same number", plan="burst"),
    "growing-maximum": _violates("MAX-CONSTANT", "raises the maximum count when a processor is added"),
    "falling-groups": _violates("GROUPS-MONOTONIC", "lowers the number of groups when a processor is added"),
    "legacy-count": _violates(
        "COUNT-LEGACY-IS-GROUP0", "counts one processor too many in the routine that knows only group 0"
    ),
    "arrival-raised": _violates("ASYNC-IRQL-PASSIVE", "announces interfaces at DISPATCH_LEVEL"),
    "arrival-version": _violates("ASYNC-STRUCT", "announces interfaces with an unknown version"),
    "arrival-misrouted": _violates("ASYNC-CLASS-ROUTE", "announces interfaces of another class"),
    "arrival-thrice": _violates(
        "ASYNC-EXISTING-DUP", "announces each interface three times", plan="existing-interfaces"
    ),
    "late-arrival": _violates(
        "ASYNC-UNREG-EX-QUIET",
        "announces an interface to a driver that unregistered and ends its tracing",
        also=("OB-ETW-BRACKET",),
    ),
    "memory-as-processor": _violates("MEM-NO-SYNC", "announces a processor when memory arrives"),
    "memory-brings-processor": _violates(
        "MEM-CPU-SILENT", "announces a processor's interface with memory", plan="existing-interfaces"
    ),
    "second-start-after-memory": _violates(
        "SYNC-EXACTLY-TWO",
        "delivers Start twice for a processor that comes after memory",
        plan="in-turn",
        also=("EXPECT",),
    ),
    "no-complete-after-memory": _violates(
        "SYNC-START-CLOSED",
        "delivers no Complete for a processor that comes after memory that came after a processor",
        plan="in-turn",
    ),
    "swapped-after-refusal": _violates(
        "SYNC-START-BEFORE-COMPLETE",
        "delivers Complete before Start for a processor that comes after memory that came after a refused one",
        plan="in-turn",
    ),
    "opt-out-ignored": _violates("REBAL-OPTOUT", "asks devices to stop that opted out", plan="opt-out"),
    "raised-unload": _violates("REG-IRQL-PASSIVE", "makes the driver deregister at DISPATCH_LEVEL"),
    "status-in-complete": _violates("OB-OPSTATUS-DISCIPLINE", "makes the driver leave an error in Complete"),
    "error-overwritten": _violates(
        "OB-NO-OVERWRITE", "makes the driver replace another driver's error", plan="two-drivers"
    ),
    "context-changed": _violates("OB-CTX-IMMUTABLE", "makes the driver change the notification's context"),
    "failure-unheeded": _violates(
        "OB-ALLOC-FREE", "makes the driver free nothing in Failure", plan="two-drivers"
    ),
    "unclean-veto": _violates(
        "OB-VETO-SELF-CLEAN",
        "makes the driver refuse an existing processor and keep what it allocated for it",
        plan="veto-existing",
    ),
    "thread-before-complete": _violates(
        "OB-THREAD-AFTER-COMPLETE",
        "delivers Start three times, and makes the driver bind a thread in the second",
        also=("ADDEX-ONE-START-EACH",),
    ),
    "requests-lost": _violates(
        "OB-ASYNC-UNREG-BEFORE-UNLOAD", "unloads a driver that was not told to unregister first"
    ),
    "stop-refused": _violates(
        "OB-NO-QUERYSTOP-VETO", "makes the driver refuse to be stopped", plan="rebalance"
    ),
}

UNPLUG_FAULTS: dict[str, UnplugFault] = {
    "unplug-refused": UnplugFault(does="refuses to give a device back", answer="refuse"),
    "unplug-ignored": UnplugFault(does="ignores requests to give a device back", answer="ignore"),
    "unplug-slow": UnplugFault(
        does="answers a request to give a device back after more seconds than the plan waits",
        answer="give",
        late=20.0,
    ),
}
"""Faults of the guest's operating system, which only the twin can show: the NT layer has no part in them."""

ALL_FAULTS: dict[str, InjectedFault] = {**INJECTED_FAULTS, **UNPLUG_FAULTS}
