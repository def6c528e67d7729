# SPDX-License-Identifier: MIT
"""A trial: one run of a generated plan, with its result, what it exercised, and the signature of its finding."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from harness.contract.verdict import RunVerdict, Verdict
from harness.errors import FailureClass, HarnessError
from harness.explore.legality import OperationSequence
from harness.history.driver import AsyncEnter, SyncEnter
from harness.history.reader import History
from harness.history.record import OperationProgress
from harness.run.request import RunRequest
from harness.run.run import RunResult, perform

STATES = {0: "Start", 1: "Complete", 2: "Failure"}
"""KE_PROCESSOR_CHANGE_NOTIFY_STATE by its value, as docs/contract.md names them."""

NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{8,}\b|\d+(?:\.\d+)?")
PATHS = re.compile(r"/\S+")


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a plan. ``signature`` identifies its finding, "" for none. ``failed`` says whether its infrastructure
    failed.

    ``rules`` are the ids of the rules that had something to judge. ``orders`` are sequences: pairs of notifications
    and operations, and triples of operations. ``reason`` is the explanation in one line. ``defect`` is the traceback
    of a defect of the harness.
    """

    operations: OperationSequence
    directory: str = ""
    verdict: RunVerdict | None = None
    signature: str = ""
    failed: bool = False
    reason: str = ""
    defect: str = ""
    rules: frozenset[str] = frozenset()
    orders: frozenset[str] = frozenset()

    @property
    def features(self) -> frozenset[str]:
        """The rules and the orders together."""
        return self.rules | self.orders


def run_trial(operations: OperationSequence, request: Callable[[], RunRequest]) -> Trial:
    """Execute the plan of ``request()``, which consists of ``operations``. Return the trial.

    Raises only RunInterrupted, after the guest has ended. Any error that is not one of the harness's own is a finding.
    """
    try:
        result = perform(request())
    except HarnessError as error:
        return _of_error(operations, error)
    except Exception as error:  # noqa: BLE001 - a defect of the harness is what exploring looks for, too
        return _of_defect(operations, error)
    try:
        return _of_result(operations, result)
    except HarnessError as error:
        return _of_error(operations, error, directory=str(result.directory))


def _of_result(operations: OperationSequence, result: RunResult) -> Trial:
    verdict, error = result.verdict, result.error
    failed = result.failure_class is FailureClass.INFRASTRUCTURE and verdict.verdict is not Verdict.VIOLATED
    reason = error.message if error is not None else (verdict.reasons or [""])[0]
    return Trial(
        operations=operations,
        directory=str(result.directory),
        verdict=verdict,
        signature="" if failed else signature(verdict, error, str(result.failure_class or "")),
        failed=failed,
        reason=reason[:600],
        rules=frozenset(rule.rule for rule in verdict.rules if rule.exercised),
        orders=frozenset(orders(result.history)),
    )


def _of_error(operations: OperationSequence, error: HarnessError, directory: str = "") -> Trial:
    failed = error.failure_class is FailureClass.INFRASTRUCTURE
    return Trial(
        operations=operations,
        directory=directory,
        failed=failed,
        signature="" if failed else f"{error.failure_class}: {_normal(error.message)}",
        reason=error.message[:600],
    )


def _of_defect(operations: OperationSequence, error: Exception) -> Trial:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return Trial(
        operations=operations,
        signature=f"defect of the harness: {type(error).__name__} in {Path(last.filename).name}:{last.name}",
        reason=f"{type(error).__name__}: {error}"[:600],
        defect="".join(traceback.format_exception(error))[-20_000:],
    )


def signature(verdict: RunVerdict, error: HarnessError | None, failure_class: str) -> str:
    """Return the signature of a run, without numbers and paths: the first violated rule, or how the guest failed.
    Return "" for neither.

    The rules violated after the first one depend on the rest of the plan, so they are not part of the signature.
    """
    if verdict.verdict is Verdict.VIOLATED:
        broken = {rule.rule for rule in verdict.rules if rule.verdict is Verdict.VIOLATED}
        first = next((r for reason in verdict.reasons if (r := reason.partition(":")[0]) in broken), "")
        return f"violated: {first or ', '.join(sorted(broken))}"
    if error is None:
        return ""
    return f"{failure_class or error.failure_class}: {_normal(error.message)}"


def broken_rule(signature: str) -> str:
    """Return the rule in a signature, "" for one without a rule."""
    kind, _, rule = signature.partition(": ")
    return rule if kind == "violated" else ""


def _normal(message: str) -> str:
    return NUMBERS.sub("#", PATHS.sub("PATH", message.partition("\n")[0]))[:160]


def orders(history: History) -> Iterator[str]:
    """Yield the orders in a history: pairs of operations and notifications, and triples of operations."""
    before, operations = "", ["", ""]
    for record in history:
        event = ""
        if isinstance(record, OperationProgress) and record.phase == "begin":
            event = " ".join(
                filter(None, (record.name, *(str(record.arguments.get(k, "")) for k in ("which", "expect"))))
            )
            if all(operations):
                yield " > ".join([*operations, event])
            operations = [operations[1], event]
        elif isinstance(record, SyncEnter):
            event = STATES.get(record.state, "unknown state") + (" with an error" if record.op else "")
        elif isinstance(record, AsyncEnter):
            event = f"{record.cls if record.cls in ('cpu', 'memory') else 'other'} arrival"
        if event:
            if before:
                yield f"{before} > {event}"
            before = event
