# SPDX-License-Identifier: MIT
"""The options of a run: what one value means, what cannot be combined, and what ``run.json`` keeps of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.run.operation import BootGuest, Quiesce
from harness.run.option import options_of
from harness.run.options import DEFAULTS, RunOptions, Timeouts, made
from harness.run.plan import MachineWishes, Plan
from harness.run.request import RunRequest
from harness.run.run import Run
from harness.size import Size

OPTIONS = {option.field: option for option in options_of(RunOptions)}


@pytest.mark.parametrize(
    ("field", "said", "meant"),
    [
        ("budget.boot", "1.5", 1.5),
        ("budget.boot", 90, 90.0),
        ("dump", "4 GiB", 4 << 30),
        ("seed", "-3", -3),
        ("restore", "cold", False),
        ("restore", True, True),
        ("retry", "yes", True),
        ("kd", "listen", "listen"),
        ("runs", "there", Path("there")),
    ],
)
def test_value_is_read_from_text_and_toml(field: str, said: object, meant: object) -> None:
    """A text, or what TOML makes of it, gives the value of the option's own type."""
    read = OPTIONS[field].read(said)
    assert (meant, type(OPTIONS[field].default) if field != "restore" else bool) == (read, type(read))


@pytest.mark.parametrize(
    ("field", "said", "words"),
    [
        ("budget.boot", "0.5", "expected seconds from 1 to 604800, got '0.5'"),
        ("budget.boot", True, "expected seconds from 1 to 604800, got true"),
        ("budget.evidence", "nan", "expected seconds from 0 to 604800, got 'nan'"),
        ("seed", "1.5", f"expected a whole number from {-(2**63)} to {2**63 - 1}, got '1.5'"),
        ("seed", str(2**63), f"expected a whole number from {-(2**63)} to {2**63 - 1}, got '{2**63}'"),
        ("dump", "\u0664 GiB", "expected a size like \"256 MiB\", got '\u0664 GiB'"),
        ("dump", "9" * 5000, f'expected a size like "256 MiB", got \'{"9" * 59}'),
        ("driver", "x" * 5000, f"there is no file or folder '{'x' * 5000}'"),
        ("firmware", "x" * 5000, f"there is no file '{'x' * 5000}'"),
        ("dump", 4096, 'expected a size like "256 MiB", got 4096'),
        ("kd", "lisen", "no use of the debugger's port is called 'lisen'"),
        ("retry", "perhaps", "no retry is called 'perhaps'"),
        ("accelerator", "hvf", "no accelerator is called 'hvf'"),
    ],
)
def test_value_that_cannot_be_is_refused(field: str, said: object, words: str) -> None:
    """The message says what was expected and what came."""
    with pytest.raises(UsageError) as refused:
        OPTIONS[field].read(said)
    assert words == refused.value.message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"connect": "qemu:///system"}, "--connect qemu:///system is libvirt's, and the backend is 'qemu'"),
        ({"connect": "qemu://[::1", "backend": "libvirt"}, "--connect: not a URI: Invalid IPv6 URL"),
        ({"restore": True, "backend": "libvirt"}, "--restore and --backend libvirt cannot be combined"),
        ({"restore": True, "kd": "debugger"}, "--restore and --debugger cannot be combined"),
        (
            {"restore": True, "real_time": True},
            "--restore and --real-time cannot be combined: a restored guest",
        ),
        (
            {"guest": "host", "real_time": True},
            "--real-time is for guests that run on QEMU, and the guest 'host'",
        ),
        (
            {"guest": "host", "dump": Size("1 GiB")},
            "--dump is for guests that run on QEMU, and the guest 'host'",
        ),
        ({"inject_fault": "no-complet"}, "--inject-fault: no fault is called 'no-complet'"),
        ({"driver": "/nowhere.sys"}, "--driver: there is no file or folder '/nowhere.sys'"),
        ({"firmware": "/"}, "--firmware: there is no file '/'"),
    ],
)
def test_options_that_cannot_be_combined_are_refused(options: dict[str, object], words: str) -> None:
    """Before anything is started, by the names of the options."""
    with pytest.raises(UsageError) as refused:
        RunOptions(**options)  # type: ignore[arg-type]
    assert refused.value.message.startswith(words)


@pytest.mark.parametrize(
    ("options", "restores"),
    [
        ({}, True),
        ({"backend": "libvirt"}, False),
        ({"kd": "listen"}, False),
        ({"real_time": True}, False),
        ({"guest": "host"}, False),
        ({"restore": False}, False),
    ],
)
def test_acceptance_restores_what_can_be_restored(options: dict[str, object], restores: bool) -> None:
    """Unless somebody wants it cold; the other defaults of its door are its own as well."""
    wanted = made("accept", options)
    assert (900.0, Path("acceptance"), restores) == (wanted.budget.boot, wanted.runs, wanted.restores)


def test_defaults_of_doors_are_of_options_that_exist() -> None:
    """Each is said by the field of an option."""
    assert set() == {field for own in DEFAULTS.values() for field in own} - set(OPTIONS)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            {"inject_fault": "unplug-slow", "guest": "host"},
            "the fault unplug-slow is one of the twin's Linux",
        ),
        ({"restore": True}, "--restore begins where a boot ended, and the plan before one"),
    ],
)
def test_what_only_a_booting_twin_can_do_is_refused_elsewhere(
    wanted: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """A fault of its Linux on another guest, and a plan that begins before the boot on a snapshot of one that is over."""
    machine = MachineWishes(started="paused") if "restore" in wanted else MachineWishes()
    do = [BootGuest()] if "restore" in wanted else [Quiesce()]
    with pytest.raises(UsageError, match=words):
        RunRequest(
            plan=Plan(name="p", machine=machine, do=do), runs=tmp_path, cache=tmp_path, argv=[], **wanted
        )
    cold = RunRequest(
        plan=Plan(name="p", machine=MachineWishes(started="paused"), do=[BootGuest()]),
        runs=tmp_path, cache=tmp_path, argv=[],
    )  # fmt: skip
    assert cold.restore is False


@pytest.mark.parametrize(
    "where", [{"argv": ["run", "\udcff"]}, {"runs": Path("\udcff")}, {"driver": "\udcff"}]
)
def test_word_that_no_document_can_hold_is_refused(
    where: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that is not UTF-8 would end a run when run.json is written, so that none is begun."""
    monkeypatch.chdir(tmp_path)
    Path("\udcff").touch()
    plan = Plan(name="p", do=[Quiesce()])
    with pytest.raises(UsageError, match=r"not UTF-8 text, as the documents of a run are: '.*\\udcff'"):
        RunRequest(**{"plan": plan, "runs": tmp_path, "cache": tmp_path, "argv": [], **where})


def test_run_json_keeps_what_it_says_nowhere_else(tmp_path: Path) -> None:
    """The keys of ``request`` are those that earlier versions wrote, where they are set."""
    usual = {"operation": 30.0, "consequence": 5.0, "quiet": 0.1}
    plain = RunRequest(plan=Plan(name="p", do=[Quiesce()]), runs=tmp_path, cache=tmp_path, argv=[])
    busy = dataclasses.replace(
        plain, accelerator="tcg", qemu="q", backend="libvirt", connect="qemu:///session", monitor=True,
        kd="listen", driver=str(tmp_path), seed=3, dump=Size("1 GiB"), budget=Timeouts(boot=1.0, test=2.0, evidence=3.0),
    )  # fmt: skip
    runs = [Run(request) for request in (plain, busy, dataclasses.replace(plain, restore=True))]
    for run in runs:
        run.writer.close()
    budget = {**usual, "boot": 90.0, "test": 3600.0, "evidence": 120.0}
    limits = {
        "channel_limit": "64 MiB",
        "channel_records": 100_000,
        "run_limit": "256 MiB",
        "run_records": 250_000,
    }
    assert [
        {"accelerator": "auto", "budget": budget, "limits": limits},
        {
            "accelerator": "tcg", "qemu": "q", "connect": "qemu:///session", "driver": str(tmp_path), "kd": "listen",
            "monitor": True, "budget": {**usual, "boot": 1.0, "test": 2.0, "evidence": 3.0}, "limits": limits,
        },
        {"accelerator": "auto", "restore": True, "budget": budget, "limits": limits},
    ] == [run.facts.request for run in runs]  # fmt: skip
