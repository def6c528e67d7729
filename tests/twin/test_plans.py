# SPDX-License-Identifier: MIT
"""The main job on the real twin: every built-in plan holds, and the history says how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from process_guests.rule_table import ON_THE_TWIN, exercises
from twin.running import OVMF, Perform, beginning, plan_of, records_of

from harness.acceptance.case import find_cases
from harness.contract.verdict import Verdict
from harness.errors import ExitCode
from harness.guest.bootable import Bootable
from harness.guest.guest_types import GUEST_TYPES, TwinType
from harness.guest.twin.guest import KNOWN_HYPERVISOR
from harness.history import driver as d
from harness.history import record as r
from harness.run.operation import Expect, Operation
from harness.run.plan import built_in_plans, find_plan
from harness.run.run import RunResult

pytestmark = pytest.mark.qemu

ELSEWHERE = {
    "test_before_boot.py": ["found-at-boot", "found-in-firmware"],
    "test_migration.py": [
        "migrate-fails", "migrate-in-add", "migrate-pending", "monitor-drops", "pause-in-add", "reset-in-add", "two-clients",
    ],
    "test_plans.py": ["cpu-and-dimm", "groups", "unaligned-dimm"],
    "test_restore.py": ["veto"],
    "test_unplug.py": ["unplug", "unplug-ignored", "unplug-late", "unplug-refused"],
}  # fmt: skip
"""Plans that have a test of their own, which says more of them, by its file."""

PARTS = {"reset": "reset"}
"""Plans that an acceptance case contains, by its name: ``tests/hardware/test_cases.py`` runs it restored, with the same machine."""

PLANS = sorted(set(built_in_plans()).difference(PARTS, *ELSEWHERE.values()))


def check_exercised(result: RunResult, plan: str) -> None:
    """A plan that docs/rules.md names for the twin exercises what it says there."""
    named = [rule for rule, plans in ON_THE_TWIN.items() if plan in plans]
    assert named
    assert named == [rule for rule in named if exercises(result.verdict, rule)]


def test_demo_shows_the_whole_chain(perform_restored: Perform) -> None:
    """One added processor and one DIMM: command, reply, firmware, callbacks in order, count, agreement, verdict."""
    result = perform_restored("cpu-and-dimm")
    assert result.error is None
    assert beginning(result) == ("restored", True, False)
    assert (result.verdict.verdict, result.verdict.guest, result.verdict.exit_code) == (
        Verdict.HOLDS,
        "twin",
        ExitCode.HOLDS,
    )
    records = records_of(result)
    adds = [(x.what, x.phase) for x in records if isinstance(x, r.Add)]
    assert adds == [(what, phase) for what in ("cpu", "dimm") for phase in ("begin", "accepted", "settled")]
    agreements = [x for x in records if isinstance(x, r.Agreement)]
    assert [(x.agreed, x.detail) for x in agreements] == [(True, ""), (True, "")]
    begin = next(x.n for x in records if isinstance(x, r.Add))
    told = [
        d.STATE_NAMES[x.state] if isinstance(x, d.SyncEnter) else f"{x.cls} arrival"
        for x in records
        if isinstance(x, d.SyncEnter | d.AsyncEnter) and x.n > begin
    ]
    assert told[0] == "Start"
    assert sorted(told) == ["Complete", "Start", "cpu arrival", "memory arrival"]
    assert told.index("memory arrival") == 3
    assert isinstance(records[-1], r.End)
    check_exercised(result, "cpu-and-dimm")


def test_every_plan_of_the_rules_page_has_its_test() -> None:
    """Those that the two tests here run, and no other."""
    assert {"cpu-and-dimm", "unaligned-dimm"} == {plan for plans in ON_THE_TWIN.values() for plan in plans}


def test_run_directory_holds_the_evidence(perform_restored: Perform) -> None:
    """The run directory has every file that it should have, private, and ``latest`` points to it."""
    result = perform_restored("unaligned-dimm")
    names = {path.name for path in result.directory.iterdir()}
    assert {"run.json", "history.jsonl", "verdict.json", "qemu.log", "console.log", "debugcon.log"} <= names
    assert result.directory.stat().st_mode & 0o777 == 0o700
    assert (result.directory.parent / "latest").resolve() == result.directory.resolve()
    facts = json.loads((result.directory / "run.json").read_bytes())
    assert facts["accelerator"] == "tcg"
    assert facts["qemu_argv"][0].endswith("qemu-system-x86_64")
    assert len(facts["image_digest"]) >= 12
    assert facts["finished"] >= facts["started"]
    stored = json.loads((result.directory / "verdict.json").read_bytes())
    assert stored["verdict"] == result.verdict.verdict
    check_exercised(result, "unaligned-dimm")


@pytest.mark.parametrize("name", PLANS)
def test_built_in_plan_holds(perform_restored: Perform, name: str) -> None:
    """A built-in plan runs to its end and its verdict holds."""
    result = perform_restored(name)
    assert result.error is None
    assert (result.verdict.verdict, result.verdict.reasons) == (Verdict.HOLDS, [])


@pytest.mark.parametrize(("file", "names"), ELSEWHERE.items())
def test_a_plan_that_is_left_out_has_its_own_test(file: str, names: list[str]) -> None:
    """Its name stands in the file's tests, and it is a built-in plan."""
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")
    tests = text.partition("\nPLANS = ")[2] or text
    assert names == [name for name in names if f'"{name}"' in tests and name in built_in_plans()]


@pytest.mark.parametrize(("name", "case"), PARTS.items())
def test_a_plan_that_a_case_contains_is_run_with_it(name: str, case: str) -> None:
    """Its operations come in its order, and what it expects of them is expected there."""
    plan, (whole,) = find_plan(name), find_cases([case])
    assert (plan.driver, plan.machine) == (whole.driver, whole.machine)
    rest = iter(whole.do)
    for wanted in plan.do:
        assert any(contains(one, wanted) for one in rest), wanted


def contains(operation: Operation, wanted: Operation) -> bool:
    """Return whether an operation does what is wanted; an expectation may expect more."""
    if not (isinstance(wanted, Expect) and isinstance(operation, Expect)):
        return operation == wanted
    there = msgspec.structs.asdict(operation)
    return all(value in (None, there[name]) for name, value in msgspec.structs.asdict(wanted).items())


def test_processors_cross_into_new_groups(perform_restored: Perform) -> None:
    """With groups of two, processors arrive in groups 0, 1 and 2; the guest says so, and group 0 is not demanded."""
    result = perform_restored("groups")
    assert (result.error, result.verdict.verdict, result.verdict.reasons) == (None, Verdict.HOLDS, [])
    assert beginning(result) == ("restored", True, True)
    records = records_of(result)
    starts = [x for x in records if isinstance(x, d.SyncEnter) and x.state == d.START]
    assert [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)] == [(x.group, x.number) for x in starts]
    options = [x.detail for x in records if isinstance(x, r.GuestEvent) and x.event == "boot-option"]
    assert options == ["groupsize=2"]
    assert [False] == [x.exercised > 0 for x in result.verdict.rules if x.rule == "NUM-GROUP0"]


def test_unmet_expectation_is_a_violation(perform_restored: Perform) -> None:
    """A plan that demands what is not so ends violated, by its own demand, with exit code 1."""
    result = perform_restored(
        plan_of('[[do]]\nop = "add-cpu"\n\n[[do]]\nop = "expect"\ncompletes = 2\nprocessors = 3\n')
    )
    assert result.verdict.exit_code is ExitCode.VIOLATED
    assert [f.rule for f in result.verdict.findings if f.verdict is Verdict.VIOLATED] == ["EXPECT"]


def test_chosen_slots_are_used(perform_restored: Perform) -> None:
    """A processor goes into the slot that the plan names, whatever order they are added in."""
    text = '[[do]]\nop = "add-cpu"\nslot = 5\n\n[[do]]\nop = "add-cpu"\nslot = 3\n'
    records = records_of(perform_restored(plan_of(text)))
    assert [(x.device, x.slot) for x in records if isinstance(x, r.Ost)] == [("cpu-1", "5"), ("cpu-2", "3")]
    numbers = [x.nt for x in records if isinstance(x, d.SyncEnter) and x.state == d.START]
    assert numbers == [0, 1, 2, 3], "NT numbers are dense in order of arrival, whatever the slot"


def test_driver_without_existing_is_silent_at_load(perform_restored: Perform) -> None:
    """Registered without ADD_EXISTING the driver hears of new processors only."""
    text = 'driver = false\n[[do]]\nop = "load-driver"\nadd_existing = false\n\n[[do]]\nop = "add-cpu"\n'
    result = perform_restored(plan_of(text))
    starts = [x.nt for x in records_of(result) if isinstance(x, d.SyncEnter) and x.state == d.START]
    assert (result.verdict.verdict, starts) == (Verdict.HOLDS, [2])


def test_uefi_firmware_is_taken(perform_restored: Perform) -> None:
    """With OVMF instead of SeaBIOS the twin boots, and the contract holds as well."""
    firmware = Path(OVMF)
    if not firmware.exists():
        pytest.skip(f"there is no {firmware}: sudo apt-get install ovmf")
    result = perform_restored("cpu-and-dimm", firmware=str(firmware))
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)
    facts = json.loads((result.directory / "run.json").read_bytes())
    assert facts["firmware"] == str(firmware)


def test_arguments_of_the_guest_reach_qemu(
    perform_restored: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a guest needs of QEMU is on its command line; what newer kernels need does an older one no harm."""

    class Disguised(TwinType):
        def prepare(self, *arguments: Any) -> Bootable:
            image = super().prepare(*arguments)
            spec = msgspec.structs.replace(image.spec, extra=KNOWN_HYPERVISOR)
            return msgspec.structs.replace(image, spec=spec)

    monkeypatch.setitem(GUEST_TYPES, "disguised-twin", Disguised())
    result = perform_restored(plan_of('[[do]]\nop = "add-cpu"\n'), guest="disguised-twin")
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)
    words = json.loads((result.directory / "run.json").read_bytes())["qemu_argv"]
    assert KNOWN_HYPERVISOR == words[-len(KNOWN_HYPERVISOR) :]


def test_human_monitor_is_named(perform_restored: Perform) -> None:
    """Asked for, a second monitor is opened and its socket is said while the run goes on."""
    said: list[str] = []

    def listen(record: r.Record) -> None:
        if isinstance(record, r.Stage) and record.phase == "note" and "a monitor for you" in record.detail:
            socket = Path(record.detail.rpartition(":")[2])
            said.append("open" if socket.is_socket() else "missing")

    perform_restored(plan_of('[[do]]\nop = "add-cpu"\n'), monitor=True, listeners=(listen,))
    assert said == ["open"]


@pytest.mark.parametrize(
    ("machine", "operation", "words"),
    [
        ('virtio_mem = "512 MiB"', 'op = "resize-virtio-mem"\nsize = "128 MiB"', "virtio-mem has 128 MiB plugged"),
        ("balloon = true", 'op = "set-balloon"\nsize = "384 MiB"', "the balloon leaves 384 MiB"),
        ("nvdimm = true", 'op = "add-nvdimm"\nsize = "128 MiB"\nid = "pmem"', "QEMU lists the NVDIMM pmem"),
    ],
)  # fmt: skip
def test_whoever_takes_it_for_a_dimm_is_told(
    perform_restored: Perform, machine: str, operation: str, words: str
) -> None:
    """A plan that expects an arrival of such memory is violated; what was seen instead stands with the operation."""
    wrong = '[[do]]\nop = "expect"\nmemory_arrivals = 1\n'
    result = perform_restored(plan_of(f"[machine]\n{machine}\n[[do]]\n{operation}\n{wrong}"))
    assert (result.error, result.verdict.verdict) == (None, Verdict.VIOLATED)
    records = records_of(result)
    (seen,) = [x for x in records if isinstance(x, r.OperationProgress) and x.index == 1 and x.phase == "end"]
    assert f"no driver told; {words}, no _OST" in seen.detail
    assert [] == [x for x in records if isinstance(x, r.Ost | r.Add)]
    assert ["demanded memory_arrivals = 1"] == [
        f"demanded {x.demanded}" for x in records if isinstance(x, r.Expectation) and not x.met
    ]
