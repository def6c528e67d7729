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
from harness.repro.differences import Differences, normal
from harness.repro.recorded_run import RepeatableRun
from harness.run import operation as op
from harness.run.options import Timeouts
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
    with HistoryWriter(directory / "history.jsonl") as writer:
        writer.write(Header(format=FORMAT, harness="0.1.0", run=facts.run, guest="twin", wall=""))
        for index, operation in enumerate(did, 1):
            named = to_plain(operation)
            arguments = {key: value for key, value in named.items() if key != "op" and value is not None}
            writer.write(OperationProgress(index=index, name=named["op"], phase="begin", arguments=arguments))
        writer.write(End(outcome="completed"))
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
    facts = msgspec.structs.replace(FACTS, qemu="/bin/sh", fault="duplicate-start")
    recorded = RepeatableRun.read(record(tmp_path / "r", PLAN.do, facts))
    request = recorded.request({"runs": tmp_path}, cache=tmp_path, argv=[])
    assert (request.machine, request.seed, request.plan, request.inject_fault) == (
        "pc",
        7,
        PLAN,
        "duplicate-start",
    )
    assert (request.accelerator, request.qemu, request.budget.boot) == ("tcg", "/bin/sh", 12.0)
    assert request.repro_of == "r-1"


def test_request_of_an_older_run_json(tmp_path: Path) -> None:
    """Every key of ``request`` that ever was is read; that somebody wanted to look at the run is not."""
    asked = {
        "accelerator": "kvm", "qemu": "/gone", "connect": "qemu:///session", "driver": str(tmp_path), "kd": "listen",
        "monitor": True, "budget": {"boot": 12.0, "test": 7.0, "operation": 1.0},
    }  # fmt: skip
    facts = msgspec.structs.replace(FACTS, request=asked, backend="libvirt", qemu="/bin/sh")
    request = RepeatableRun.read(record(tmp_path / "r", PLAN.do, facts)).request({}, cache=tmp_path, argv=[])
    assert ("tcg", "/bin/sh", "libvirt", "qemu:///session", str(tmp_path), "listen") == (
        request.accelerator, request.qemu, request.backend, request.connect, request.driver, request.kd,
    )  # fmt: skip
    assert (False, False) == (request.monitor, request.restore)
    assert Timeouts(boot=12.0, test=7.0, operation=1.0) == request.budget
    saved = msgspec.structs.replace(FACTS, request={"restore": True})
    assert (
        RepeatableRun.read(record(tmp_path / "s", PLAN.do, saved))
        .request({}, cache=tmp_path, argv=[])
        .restore
    )


def test_what_the_user_sets_goes_over_what_was_recorded(tmp_path: Path) -> None:
    """One time, the debugger's port and the driver are new; the rest of the budget and the machine stay."""
    facts = msgspec.structs.replace(
        FACTS, request={"driver": "/gone.sys", "budget": {"boot": 12.0, "test": 7.0}}
    )
    recorded = RepeatableRun.read(record(tmp_path / "r", PLAN.do, facts))
    with pytest.raises(UsageError, match=r"--driver: there is no file or folder '/gone\.sys'"):
        recorded.request({}, cache=tmp_path, argv=[])
    set_now = {"budget.boot": 99.0, "kd": "debugger", "driver": str(tmp_path), "dump": Size("1 GiB")}
    request = recorded.request(set_now, cache=tmp_path, argv=[])
    assert Timeouts(boot=99.0, test=7.0) == request.budget
    assert ("debugger", str(tmp_path), 1 << 30, "pc") == (
        request.kd, request.driver, request.dump, request.machine,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [("kd", 3), ("budget", {"boot": "long"}), ("budget", {"boot": -5}), ("restore", "yes")],
)
def test_request_that_is_malformed_is_refused(tmp_path: Path, key: str, value: object) -> None:
    """A run.json that was changed by hand says which key is wrong."""
    facts = msgspec.structs.replace(FACTS, request={key: value})
    recorded = RepeatableRun.read(record(tmp_path / "r", PLAN.do, facts))
    with pytest.raises(UsageError, match=rf"run\.json has an invalid {key}"):
        recorded.request({}, cache=tmp_path, argv=[])


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("image_digest", "b" * 64, "the guest's image differs: bbbbbbbbbbbb, it was aaaaaaaaaaaa"),
        ("qemu_version", "QEMU 9.0", "QEMU differs: QEMU 9.0, it was QEMU 7.2"),
        ("accelerator", "kvm", "the accelerator differs: kvm, it was tcg"),
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
    assert (anyway.notes, new.differs) == ([words], [words])


HOST = {
    "system": "Linux-6.1.0-1-amd64-x86_64-with-glibc2.36",
    "processor": "one",
    "cpus": "2",
    "python": "3.11.2",
}
THERE = {"system": "Linux-6.12.0-1-amd64-x86_64-with-glibc2.41", "processor": "another", "cpus": "8"}


def test_the_refusal_lists_all_that_differs_before_anything_starts() -> None:
    """Nothing is refused while something is not known yet; then everything at once."""
    old = msgspec.structs.replace(FACTS, host=HOST, image="twin, Linux 6.1", driver="d" * 64)
    new = msgspec.structs.replace(
        old, host=THERE, image="twin, Linux 6.12", image_digest="b" * 64, driver="e" * 64, accelerator="", qemu_version=""
    )  # fmt: skip
    compared = Differences(old, anyway=False)
    compared(new)
    known = msgspec.structs.replace(new, accelerator="kvm", qemu_version="QEMU 10.0")
    with pytest.raises(UsageError) as refused:
        compared(known)
    for what in ("image differs", "system differs: twin", "driver differs", "QEMU differs", "accelerator differs",
                 "host's system differs", "host's processor differs", "number of the host's processors differs"):  # fmt: skip
        assert what in refused.value.message
    assert len(known.differs) == 8


def test_what_an_older_run_does_not_say_is_not_held_against_it() -> None:
    """A fact that is missing on either side is unknown, and no difference."""
    compared = Differences(FACTS, anyway=False)
    compared(msgspec.structs.replace(FACTS, host=HOST, image="twin, Linux 6.1", driver="d" * 64))
    assert compared.notes == []


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
