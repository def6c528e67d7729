# SPDX-License-Identifier: MIT
"""Injected faults: known misbehaviours of the NT layer (``nt/core/plants.c``), each of which the checker must catch.

They work on every guest that has this layer: the twin, the process and Wine. Wine's devices are Wine's own. A rebalance
without a query (``stop-unasked``) and devices that opted out (``opt-out-ignored``) therefore do not show there.
"""

from __future__ import annotations

import msgspec


class InjectedFault(msgspec.Struct, frozen=True):
    """What a fault does, the verdict and the rule that must follow from it, and the built-in plan in which it shows.

    ``also`` are other rules that the same fault breaks, and that have no fault of their own.
    """

    rule: str
    does: str
    verdict: str = "violated"
    plan: str = "cpu-and-dimm"
    also: tuple[str, ...] = ()


class UnplugFault(InjectedFault, frozen=True, kw_only=True):
    """A fault of the twin's Linux: its answer to unplug requests, after ``late`` seconds."""

    verdict: str = "unknown"
    plan: str = "unplug"
    answer: str
    late: float = 0.0


INJECTED_FAULTS: dict[str, InjectedFault] = {
    "complete-before-start": InjectedFault(
        "SYNC-START-BEFORE-COMPLETE", "delivers Complete for a processor before its Start"
    ),
    "duplicate-start": InjectedFault(
        "SYNC-EXACTLY-TWO", "delivers Start twice for one processor", also=("EXPECT",)
    ),
    "missing-complete": InjectedFault(
        "SYNC-START-CLOSED", "never delivers Complete for a processor that runs"
    ),
    "wrong-irql": InjectedFault("SYNC-IRQL-PASSIVE", "calls the callback at DISPATCH_LEVEL"),
    "complete-uncounted": InjectedFault(
        "COMPLETE-COUNTED", "delivers Complete while the active count does not include the processor"
    ),
    "async-before-start": InjectedFault(
        "SYNC-FIRST", "announces the processor's interface before Start", also=("ASYNC-AFTER-SCHEDULABLE",)
    ),
    "existing-interleaved": InjectedFault(
        "ADDEX-STARTS-THEN-COMPLETES", "completes each existing processor before the next one's Start"
    ),
    "lost-line": InjectedFault("CAP-NO-LOSS", "loses a line of the debug port", verdict="unknown"),
    "reset-mid-attempt": InjectedFault(
        "CAP-EPOCH", "resets the machine between Start and Complete", verdict="unknown"
    ),
    "stop-unasked": InjectedFault(
        "REBAL-ORDER", "stops a device in a rebalance without asking it first", plan="rebalance"
    ),
    "early-release": InjectedFault(
        "REBAL-KMDF-ORDER", "releases a device's hardware before it leaves D0", plan="rebalance"
    ),
    "unknown-state": InjectedFault("SYNC-STATE-VALID", "calls the callback with an invalid state"),
    "moved-context": InjectedFault(
        "SYNC-CONTEXT-IDENTITY", "calls the callback with another context than was registered"
    ),
    "failed-and-completed": InjectedFault(
        "SYNC-TERMINAL-EXCLUSIVE", "delivers Failure and then Complete for one processor"
    ),
    "forgotten-driver": InjectedFault(
        "SYNC-ALL-REGISTERED", "tells only the callback that was registered first", plan="without-existing"
    ),
    "told-apart": InjectedFault(
        "SYNC-AGREE", "tells one callback of a failure and the other of success", plan="without-existing"
    ),
    "no-barrier": InjectedFault(
        "SYNC-BARRIER",
        "completes a processor for one callback before the other's Start",
        plan="without-existing",
    ),
    "another-number": InjectedFault(
        "SYNC-SAME-IDENTITY", "names another processor's number in Complete", also=("NUM-INDEX-AGREES",)
    ),
    "runs-early": InjectedFault(
        "NO-RUN-BEFORE-START-DONE", "runs code on the new processor before Start returned"
    ),
    "failure-before-start": InjectedFault(
        "SYNC-START-BEFORE-FAILURE", "delivers Failure for a processor before its Start", plan="veto"
    ),
    "failure-without-reason": InjectedFault(
        "FAIL-STATUS-ERROR", "delivers Failure with a status of success", plan="veto"
    ),
    "counted-at-failure": InjectedFault(
        "FAIL-NOT-COUNTED",
        "counts a refused processor as active until its Failure was delivered",
        plan="veto",
        also=("COUNT-MONOTONIC",),
    ),
    "completed-after-veto": InjectedFault(
        "VETO-NO-COMPLETE", "delivers Complete for a refused processor", plan="veto"
    ),
    "missing-failure": InjectedFault(
        "VETO-FAILURE-DELIVERED", "tells nobody whether a processor was added or refused", plan="two-drivers"
    ),
    "existing-again": InjectedFault(
        "ADDEX-WITHIN-REGISTER",
        "reports an existing processor again after the registration returned",
    ),
    "existing-missed": InjectedFault(
        "ADDEX-ONE-START-EACH", "leaves out an existing processor at registration"
    ),
    "existing-unfinished": InjectedFault(
        "ADDEX-ONE-COMPLETE-EACH", "delivers no Complete for an existing processor at registration"
    ),
    "existing-goes-on": InjectedFault(
        "ADDEX-VETO-STOPS", "goes on with Starts at registration after one was refused", plan="veto-existing"
    ),
    "existing-not-failed": InjectedFault(
        "ADDEX-VETO-FAILURES",
        "delivers no Failure at registration after a Start was refused",
        plan="veto-existing",
    ),
    "refused-called": InjectedFault(
        "NULL-NO-CALLBACKS", "calls a registration that returned NULL", plan="veto-existing"
    ),
    "existing-unasked": InjectedFault(
        "NOFLAG-SILENT",
        "reports existing processors to a registration that did not ask for them",
        plan="without-existing",
    ),
    "others-told": InjectedFault(
        "ADDEX-OTHERS-SILENT",
        "tells every other driver of existing processors, too",
        plan="two-drivers",
        also=("HOST-CAUSE",),
    ),
    "impossible-number": InjectedFault("NUM-RANGE", "names number 64 in a group in Start"),
    "second-group": InjectedFault("NUM-GROUP0", "names group 1 in Start on a machine with one group"),
    "number-again": InjectedFault("NUM-UNIQUE", "gives each added processor the same number", plan="burst"),
    "growing-maximum": InjectedFault("MAX-CONSTANT", "raises the maximum count when a processor is added"),
    "falling-groups": InjectedFault(
        "GROUPS-MONOTONIC", "lowers the number of groups when a processor is added"
    ),
    "legacy-count": InjectedFault(
        "COUNT-LEGACY-IS-GROUP0", "counts one processor too many in the routine that knows only group 0"
    ),
    "arrival-raised": InjectedFault("ASYNC-IRQL-PASSIVE", "announces interfaces at DISPATCH_LEVEL"),
    "arrival-version": InjectedFault("ASYNC-STRUCT", "announces interfaces with an unknown version"),
    "arrival-misrouted": InjectedFault("ASYNC-CLASS-ROUTE", "announces interfaces of another class"),
    "arrival-thrice": InjectedFault(
        "ASYNC-EXISTING-DUP", "announces each interface three times", plan="existing-interfaces"
    ),
    "late-arrival": InjectedFault(
        "ASYNC-UNREG-EX-QUIET",
        "announces an interface to a driver that unregistered and ends its tracing",
        also=("OB-ETW-BRACKET",),
    ),
    "memory-as-processor": InjectedFault("MEM-NO-SYNC", "announces a processor when memory arrives"),
    "memory-brings-processor": InjectedFault(
        "MEM-CPU-SILENT", "announces a processor's interface with memory", plan="existing-interfaces"
    ),
    "second-start-after-memory": InjectedFault(
        "SYNC-EXACTLY-TWO",
        "delivers Start twice for a processor that comes after memory",
        plan="in-turn",
        also=("EXPECT",),
    ),
    "no-complete-after-memory": InjectedFault(
        "SYNC-START-CLOSED",
        "delivers no Complete for a processor that comes after memory that came after a processor",
        plan="in-turn",
    ),
    "swapped-after-refusal": InjectedFault(
        "SYNC-START-BEFORE-COMPLETE",
        "delivers Complete before Start for a processor that comes after memory that came after a refused one",
        plan="in-turn",
    ),
    "opt-out-ignored": InjectedFault("REBAL-OPTOUT", "asks devices to stop that opted out", plan="opt-out"),
    "raised-unload": InjectedFault("REG-IRQL-PASSIVE", "makes the driver deregister at DISPATCH_LEVEL"),
    "status-in-complete": InjectedFault(
        "OB-OPSTATUS-DISCIPLINE", "makes the driver leave an error in Complete"
    ),
    "error-overwritten": InjectedFault(
        "OB-NO-OVERWRITE", "makes the driver replace another driver's error", plan="two-drivers"
    ),
    "context-changed": InjectedFault(
        "OB-CTX-IMMUTABLE", "makes the driver change the notification's context"
    ),
    "failure-unheeded": InjectedFault(
        "OB-ALLOC-FREE", "makes the driver free nothing in Failure", plan="two-drivers"
    ),
    "unclean-veto": InjectedFault(
        "OB-VETO-SELF-CLEAN",
        "makes the driver refuse an existing processor and keep what it allocated for it",
        plan="veto-existing",
    ),
    "thread-before-complete": InjectedFault(
        "OB-THREAD-AFTER-COMPLETE",
        "delivers Start three times, and makes the driver bind a thread in the second",
        also=("ADDEX-ONE-START-EACH",),
    ),
    "requests-lost": InjectedFault(
        "OB-ASYNC-UNREG-BEFORE-UNLOAD", "unloads a driver that was not told to unregister first"
    ),
    "stop-refused": InjectedFault(
        "OB-NO-QUERYSTOP-VETO", "makes the driver refuse to be stopped", plan="rebalance"
    ),
}

UNPLUG_FAULTS: dict[str, UnplugFault] = {
    "unplug-refused": UnplugFault("HOST-AGREED", "refuses to give a device back", answer="refuse"),
    "unplug-ignored": UnplugFault("HOST-AGREED", "ignores requests to give a device back", answer="ignore"),
    "unplug-slow": UnplugFault(
        "HOST-AGREED",
        "answers a request to give a device back after more seconds than the plan waits",
        answer="give",
        late=20.0,
    ),
}
"""Faults of the guest's operating system, which only the twin can show: the NT layer has no part in them."""

ALL_FAULTS: dict[str, InjectedFault] = {**INJECTED_FAULTS, **UNPLUG_FAULTS}
