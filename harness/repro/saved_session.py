# SPDX-License-Identifier: MIT
"""Operations as a file: a plan, or a pytest function that fails while the run would be violated."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from harness.config import to_plain
from harness.contract.explanation import last_step
from harness.contract.verdict import RunVerdict, Verdict
from harness.errors import UsageError
from harness.history.reader import History
from harness.invocation import invocation, quoted
from harness.run.operation import AddCpu, AddDimm, Operation
from harness.run.options import options_at
from harness.run.plan import MachineWishes, Plan
from harness.run.plan_text import plan_text
from harness.run.request import RunRequest

LONGEST = 100
"""The most columns of a line of a written test, where its values permit."""


def save_plan(plan: Plan, file: Path, *, origin: str) -> Path:
    """Write ``plan`` to a new file, named after it. Raises UsageError if the file exists or cannot be written.

    Its summary says ``origin``, which completes the sentence "saved from". The plan's own summary may describe other
    operations.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", file.stem).strip("-")[:100] or "session"
    _write(
        file, plan_text(msgspec.structs.replace(plan, name=name, shows="", summary=f"saved from {origin}"))
    )
    return file


def needed(verdict: RunVerdict, rule: str, history: History) -> int:
    """Return how many operations it took to break ``rule``: to the one in which its evidence arrived. 0: unknown."""
    of_cause = [f for f in verdict.findings if any(line.startswith(f"{rule}: ") for line in f.consequences)]
    found = [f for f in verdict.findings if f.rule == rule and f.verdict is Verdict.VIOLATED] + of_cause
    return last_step(history, found[0]) if rule and found else 0


def save_test(
    plan: Plan, file: Path, request: RunRequest, verdict: RunVerdict, *, origin: str, first: str = ""
) -> list[Path]:
    """Write a pytest function with the operations of ``plan`` to a new file. Return the written files.

    ``request`` is that of the run with ``verdict``, ``first`` the violated rule to be named first. ``origin`` completes the sentence "Made from". A plan that does
    not load its driver at the start cannot begin a test. Such a plan is written beside the test.
    """
    beside = not plan.driver or plan.pnp or plan.machine.started != "running"
    written = [save_plan(plan, file.with_suffix(".toml"), origin=origin)] if beside else []
    _write(file, _test_text(plan, file, request, verdict, origin, first, beside=beside))
    return [*written, file]


def plan_command(file: Path, request: RunRequest) -> str:
    """Return the command that runs the plan on a guest like the run's, the injected fault included."""
    words = [
        word
        for one, value in request.values()
        if not _of_no_plan(one.field) and value not in (None, one.default) and "run" not in one.absent
        for word in one.arguments(value)
    ]
    return invocation("run", file, *words)


def test_command(file: Path, request: RunRequest) -> str:
    """Return the command that executes the test on a guest like the run's."""
    return " ".join(["pytest", quoted(file), *_options(request)])


def _options(request: RunRequest) -> list[str]:
    """Return the plugin's options that give a test the run's guest, without those set by markers."""
    words = []
    for one in options_at("pytest"):
        if one.field == "guest" or _of_no_plan(one.field):
            continue
        value = getattr(request, one.field, None)
        if value not in (None, one.default):
            words.append(f"--hotplug-{one.key('pytest').replace('_', '-')}={quoted(one.text(value))}")
    return words


def _of_no_plan(field: str) -> bool:
    """Return whether an option of a run is about its place, time or evidence, which a saved session need not keep."""
    return field in ("runs", "restore", "report", "dump", "retry") or field.startswith(("budget", "limits"))


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as out:
            try:
                out.write(text)
                out.flush()
            except BaseException:
                # A part of it would keep the name from the next attempt.
                file.unlink()
                raise
    except FileExistsError as error:
        raise UsageError(
            f"{file} already exists", hint="Give another name; existing files are not overwritten."
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write {file}: {getattr(error, 'strerror', error)}") from error


def _test_text(
    plan: Plan, file: Path, request: RunRequest, verdict: RunVerdict, origin: str, first: str, *, beside: bool
) -> str:
    steps = [] if beside else [_call(operation) for operation in plan.do]
    uses_op = any("op." in step for step in steps)
    marks = [f"@pytest.mark.guest({_literal(request.guest)})"]
    wishes = {
        key: value
        for key, value in to_plain(plan.machine).items()
        if value is not None and value != to_plain(MachineWishes()).get(key) and not beside
    }
    if wishes:
        marks.append(f"@pytest.mark.machine({_arguments(wishes)})")
    if request.inject_fault:
        marks.append(f"@pytest.mark.inject_fault({_literal(request.inject_fault)})")
    if beside:
        marks.append(f'@pytest.mark.plan(str(Path(__file__).with_name("{file.with_suffix(".toml").name}")))')
    imports = ["from pathlib import Path", ""] if beside else []
    imports += ["import pytest"]
    if uses_op:
        imports += ["", "from harness.run import operation as op"]
    broken = [reason.partition(":")[0] for reason in verdict.reasons]
    known = {one.rule for one in verdict.rules if one.verdict is Verdict.VIOLATED}
    broken = sorted((rule for rule in broken if rule in known), key=lambda rule: rule != first)
    what = f"It broke {', '.join(broken)}." if broken else f"It was {verdict.verdict.value}."
    name = re.sub(r"\W+", "_", file.stem)
    lines = [
        f'"""Made from {origin}.',
        "",
        what,
        "",
        f"Run it: {test_command(Path(file.name), request)}",
        '"""',
        "",
        *imports,
        "",
        "",
        *marks,
        f"def {name}({'' if beside else 'hotplug, '}verdict):",
        f'    """The driver is notified as documented{f": {broken[0]} holds" if broken else ""}."""',
        *(f"    {step}" for step in steps),
        "    judged = verdict()",
        '    assert judged.verdict == "holds", "\\n".join(judged.reasons)',
    ]
    return "\n".join(lines) + "\n"


def _call(operation: Operation) -> str:
    """Return the Python line of an operation."""
    plain, defaults = (
        to_plain(operation),
        {f.encode_name: f.default for f in msgspec.structs.fields(operation)},
    )
    plain.pop("op")
    given = {key: value for key, value in plain.items() if value is not None and value != defaults.get(key)}
    if isinstance(operation, AddCpu):
        return f"hotplug.add_cpu({_arguments(given)})"
    if isinstance(operation, AddDimm):
        size = given.pop("size")
        return f"hotplug.add_dimm({', '.join(filter(None, (_literal(size), _arguments(given))))})"
    return f"hotplug.do(op.{type(operation).__name__}({_arguments(given)}))"


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={_literal(value)}" for key, value in values.items())


def _literal(value: object) -> str:
    """Return a value as Python, a text in double quotes."""
    return json.dumps(value, ensure_ascii=True) if isinstance(value, str) else repr(value)
