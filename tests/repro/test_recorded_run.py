# SPDX-License-Identifier: MIT
"""A recorded run can be done again: what it did is found, and what would make it another run is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.cli.main import main
from harness.config import to_plain
from harness.errors import UsageError
from harness.history.record import FORMAT, End, Header, OperationProgress
from harness.history.run_directory import RunFacts
from harness.history.writer import HistoryWriter
from harness.repro.recorded_run import Differences, RepeatableRun, normal
from harness.run import operation as op
from harness.run.plan import Plan
from harness.size import Size

PLAN = Plan(name="p", do=[op.AddCpu(), op.AddDimm(size=Size("128 MiB")), op.Expect(dimms=1)])
FACTS = RunFacts(
    run="r-1", harness="0.1.0", argv=["harness", "run", "p"], guest="twin", plan=to_plain(PLAN), seed=7,
    started="", accelerator="tcg", qemu="/usr/bin/qemu", qemu_version="QEMU 7.2", image_digest="a" * 64,
    machine="pc", backend="qemu", request={"budget": {"boot": 12.0}},
)  # fmt: skip


def record(directory: Path, did: list[op.Operation], facts: RunFacts = FACTS) -> Path:
    """Write a run that did some operations; return its directory."""
    directory.mkdir()
    (directory / "run.json").write_bytes(msgspec.json.encode(facts))
    with HistoryWriter(directory / "history.jsonl") as tape:
        tape.write(Header(format=FORMAT, harness="0.1.0", run=facts.run, guest="twin", wall=""))
        for index, operation in enumerate(did, 1):
            named = to_plain(operation)
            arguments = {key: value for key, value in named.items() if key != "op" and value is not None}
            tape.write(OperationProgress(index=index, name=named["op"], phase="begin", arguments=arguments))
        tape.write(End(outcome="completed"))
    return directory


@pytest.mark.parametrize(
    ("did", "expected"),
    [
        (PLAN.do, PLAN.do),
        (PLAN.do[:2], PLAN.do),
        ([*PLAN.do, op.Settle()], PLAN.do),
        ([], PLAN.do),
        ([op.AddCpu(slot=3), op.VetoNext(), op.Settle()], [op.AddCpu(slot=3), op.VetoNext()]),
        ([*PLAN.do, op.AddCpu(slot=3)], [*PLAN.do, op.AddCpu(slot=3)]),
    ],
)
def test_what_a_run_did_is_its_plan_or_its_history(
    tmp_path: Path, did: list[op.Operation], expected: list[op.Operation]
) -> None:
    """A plan that was cut short is taken whole; a test that drove the guest itself is in the history only."""
    assert expected == RepeatableRun.read(record(tmp_path / "r", did)).plan.do


def test_request_asks_for_the_same(tmp_path: Path) -> None:
    """Machine, seed, plan and budgets are the run's own, and it is named."""
    facts = msgspec.structs.replace(FACTS, qemu="/bin/sh", plant="duplicate-start")
    recorded = RepeatableRun.read(record(tmp_path / "r", PLAN.do, facts))
    request = recorded.request(runs=tmp_path, cache=tmp_path, argv=[])
    assert (request.machine, request.seed, request.plan, request.plant) == ("pc", 7, PLAN, "duplicate-start")
    assert (request.accelerator, request.qemu, request.budget.boot) == ("tcg", "/bin/sh", 12.0)
    assert request.repro_of == "r-1"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("image_digest", "b" * 64, "the guest's image is another: bbbbbbbbbbbb, it was aaaaaaaaaaaa"),
        ("qemu_version", "QEMU 9.0", "QEMU is another: QEMU 9.0, it was QEMU 7.2"),
        ("accelerator", "kvm", "the accelerator is another: kvm, it was tcg"),
    ],
)
def test_another_machine_is_refused_or_noted(field: str, value: str, words: str) -> None:
    """Refused with what differs and the way out; with the way out taken, noted once."""
    new = msgspec.structs.replace(FACTS, **{field: value})
    with pytest.raises(UsageError, match=words) as refused:
        Differences(FACTS, anyway=False)(new)
    assert "--anyway" in refused.value.hint
    anyway = Differences(FACTS, anyway=True)
    anyway(new)
    anyway(new)
    assert anyway.notes == [words]


def test_arguments_that_only_name_the_run_are_no_difference() -> None:
    """Run directory, sockets, name and a second monitor may differ; another device is said."""
    argv = [
        "/usr/bin/qemu", "-name", "guest=r-1,debug-threads=on", "file,path=/a/runs/r-1/console.log",
        "socket,path=/run/hotplug-0123456789abcdef/qmp,server=on",
    ]  # fmt: skip
    old = msgspec.structs.replace(FACTS, qemu_argv=argv)
    moved = [
        "/opt/qemu", "-name", "guest=r-2,debug-threads=on", "file,path=/b/r-2/console.log",
        "socket,path=/tmp/hotplug-fedcba9876543210/qmp,server=on", "socket,id=human,path=x",
    ]  # fmt: skip
    new = msgspec.structs.replace(FACTS, run="r-2", qemu_argv=moved)
    assert normal(old) == normal(new)
    differences = Differences(old, anyway=False)
    differences(new)
    assert differences.notes == []
    differences(msgspec.structs.replace(new, qemu_argv=[*moved, "-device"]))
    assert differences.notes == ["QEMU's command differs: without nothing, with ['-device']"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: (run / "run.json").unlink(), "run.json: No such file"),
        (lambda run: (run / "run.json").write_text('{"run": 3}'), "does not say what it was made of"),
        (lambda run: (run / "history.jsonl").write_text(""), "is empty"),
        (lambda run: None, "there is no step 9: the run's plan has 3 operations"),
    ],
)
def test_mistakes_of_the_user_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: object, words: str
) -> None:
    """What is no run, or has no such step, ends with 64 and says what to give instead."""
    run = record(tmp_path / "r", PLAN.do)
    spoil(run)  # type: ignore[operator]
    assert 64 == main(["repro", str(run), "--step", "9"])
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) >= 1
    assert "Traceback" not in said
