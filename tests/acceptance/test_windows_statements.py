# SPDX-License-Identifier: MIT
"""The statements of docs/windows.md: each is a line, and is confirmed or refuted only by a record that shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from docs.statements import FILE, HEADING, PAGE, text
from docs.statements import statements as rows_of

from harness.acceptance.windows_statements import (
    MACHINE,
    NMI,
    OWN_COPY,
    TRACE,
    TRACE_FILE,
    Shown,
    in_build,
    in_run,
    statements,
)
from harness.history.driver import Hello
from harness.history.record import FORMAT, Channel, Count, GuestEvent, Header, Qmp, Record, Stage
from harness.history.writer import HistoryWriter
from harness.template.progress import BuildPosition
from harness.template.stage import BuildStage
from harness.template.store import BuiltTemplate
from harness.template.template import find_template, templates_directory
from tests.template.test_promise import MANIFEST

GUEST = "windows-server-2025"


def told(*details: str) -> list[Record]:
    """The records of scripts with these outcomes."""
    return [GuestEvent(n=n, event="script", detail=detail) for n, detail in enumerate(details, 1)]


def shown(records: list[Record]) -> dict[str, tuple[Shown, int]]:
    """What the records show."""
    return {name: (one.shown, one.record) for name, one in in_run(records).items()}


def test_the_data_are_those_of_the_page() -> None:
    """``python -m tests.docs.statements`` writes them."""
    assert text(PAGE.read_text(encoding="utf-8")) == FILE.read_text(encoding="utf-8")


def test_a_row_about_several_scripts_is_one_statement_for_each() -> None:
    """Other first cells are one name each, commas and all."""
    table = "| where | what it relies on | page |\n| --- | --- | --- |\n"
    rows = "| `a.ps1`, `b.ps1` | x, `y` | W32: p |\n| clock, five minutes | z | no page |\n"
    assert [("a.ps1", "x, `y`"), ("b.ps1", "x, `y`"), ("clock, five minutes", "z")] == [
        (one["id"], one["says"]) for one in rows_of(f"{HEADING}\n{table}{rows}\n## Next\n| no | no | no |\n")
    ]


def test_a_templates_own_step_is_a_statement(tmp_path: Path) -> None:
    """Though no page of ours has a row for it."""
    (tmp_path / "provision").mkdir()
    (tmp_path / "provision" / "55-mine.ps1").write_text("# SPDX\n# Essential: it is ours.\n")
    template = msgspec.structs.replace(find_template(GUEST), directory=str(tmp_path))
    known = [one.id for one in statements(template)]
    assert "provision/55-mine.ps1" == known[-1]
    assert known[:-1] == [one.id for one in statements(find_template(GUEST))]
    evident = {MACHINE, TRACE, TRACE_FILE, NMI, OWN_COPY, "once.ps1", "provision/70-openssh.ps1"}
    assert evident <= set(known)


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (["trust: answered"], {"trust.ps1": (Shown.TRUE, 1)}),
        (["trust: broke off: script trust: exit code 1: no"], {"trust.ps1": (Shown.FALSE, 1)}),
        (["ready: broke off: starting", "ready: answered"], {"ready.ps1": (Shown.TRUE, 2)}),
        (["ready: answered", "ready: broke off: gone"], {"ready.ps1": (Shown.FALSE, 2)}),
        (["driver-load: code 577"], {}),
        (["driver-load: answered", "driver-load: code 577"], {"driver-load.ps1": (Shown.TRUE, 1)}),
        (["verifier: code 2"], {"verifier.ps1": (Shown.TRUE, 1)}),
        (["verifier: code 1"], {}),
        (["pnp-install: code 3010"], {"pnp-install.ps1": (Shown.TRUE, 1)}),
        (["nonsense"], {}),
    ],
)
def test_a_script_is_carried_out_or_broken_off(
    details: list[str], expected: dict[str, tuple[Shown, int]]
) -> None:
    """A tool's own code may be anybody's fault and says nothing; 2 and 3010 want a restart (the page's table)."""
    assert expected == shown(told(*details))


def panic(code: object, kind: str = "hyper-v") -> Qmp:
    """What QEMU says when Windows told of a bug check."""
    info = {"type": kind, "arg1": code, "arg2": 0, "arg3": 0, "arg4": 0, "arg5": 0}
    return Qmp(
        n=1,
        direction="in",
        message={"event": "GUEST_PANICKED", "data": {"action": "pause", "info": info}},
    )


@pytest.mark.parametrize(
    ("record", "names"),
    [
        (Count(n=1, processors=2, memory=1, why="baseline"), {"hpnctl machine"}),
        (Count(n=1, processors=2, memory=1, why="settled"), set()),
        (Channel(n=1, name="etw", records=3, closed=True), {"hpnctl trace", "trace file"}),
        (Channel(n=1, name="etw", records=0, closed=True), set()),
        (Channel(n=1, name="etw", records=3), set()),
        (Channel(n=1, name="debugcon", records=3, closed=True), set()),
        (panic(0x80), {"NMI", "bug check"}),
        (panic(0x7E), {"bug check"}),
        (panic(0x80, "s390"), set()),
        (Qmp(n=1, direction="in", message={"event": "GUEST_PANICKED", "data": {"info": [1]}}), set()),
        (Qmp(n=1, direction="in", message={"event": "GUEST_PANICKED"}), set()),
    ],
)
def test_other_statements_have_records_of_their_own(record: Record, names: set[str]) -> None:
    """A count that hpnctl made, a trace that was whole, and the bug check of an NMI; nothing else confirms them."""
    assert dict.fromkeys(names, (Shown.TRUE, 1)) == shown([record])


def hello(n: int, driver: str) -> Hello:
    """The first record of a driver."""
    blanks: dict[str, Any] = {
        field.name: "" if field.type is str else 0
        for field in msgspec.structs.fields(Hello)
        if field.required
    }
    return Hello(**{**blanks, "n": n, "driver": driver, "boot": "b", "channel": "debugcon"})


def test_two_drivers_in_one_run_show_that_each_has_its_own_copy() -> None:
    """One driver, loaded twice, shows nothing."""
    assert {} == shown([hello(1, "hpnotify"), hello(2, "hpnotify")])
    assert {"one file a service": (Shown.TRUE, 2)} == shown([hello(1, "hpnotify"), hello(2, "second")])


@pytest.fixture
def built(tmp_path: Path) -> BuiltTemplate:
    """A template without a build log."""
    (tmp_path / "template.toml").write_text((templates_directory() / GUEST / "template.toml").read_text())
    return BuiltTemplate(folder=tmp_path, manifest=MANIFEST)


def log(built: BuiltTemplate, attempt: str, *stages: tuple[str, str, str]) -> None:
    """Write the log of one attempt: step, phase, detail; "" is the shutdown, "-" provisioning before its first step."""
    folder = built.folder / "log" / attempt
    folder.mkdir(parents=True)
    with HistoryWriter(folder) as writer:
        writer.write(Header(format=FORMAT, harness="0", run="build", guest=GUEST, wall=""))
        for step, phase, detail in stages:
            place = BuildPosition(BuildStage.DONE)
            if step:
                place = BuildPosition(BuildStage.PROVISIONING, *((3, 12, step) if step != "-" else ()))
            writer.write(Stage(name=place.words(), phase=phase, detail=detail))  # type: ignore[arg-type]


def in_log(built: BuiltTemplate) -> dict[str, tuple[str, Shown, int]]:
    """What the build shows."""
    return {
        name: (one.place, one.evidence.shown, one.evidence.record) for name, one in in_build(built).items()
    }


def test_a_step_was_carried_out_if_the_guest_went_on(built: BuiltTemplate) -> None:
    """An interrupted one was not, nor one that took too long; one that told its failure is refuted until it went well."""
    failed = "provisioning step 3 of 12 (openssh) failed: no"
    log(
        built,
        "01",
        ("quiet", "begin", ""),
        ("quiet", "end", ""),
        ("openssh", "begin", ""),
        ("openssh", "fail", failed),
    )
    log(built, "02", ("trace", "begin", ""), ("trace", "fail", "nothing happened in stage provisioning"))
    log(built, "03", ("facts", "begin", ""), ("facts", "end", ""))
    assert {
        "provision/20-quiet.ps1": ("log/01", Shown.TRUE, 3),
        "provision/70-openssh.ps1": ("log/01", Shown.FALSE, 5),
    } == in_log(built)
    log(built, "04", ("openssh", "begin", ""), ("openssh", "end", ""), ("", "begin", ""))
    assert ("log/04", Shown.TRUE, 3) == in_log(built)["provision/70-openssh.ps1"]


def test_a_warning_refutes_a_step_that_the_build_went_on_after(built: BuiltTemplate) -> None:
    """With its own words; that provisioning began confirms what begins it."""
    log(
        built, "01", ("-", "begin", ""), ("-", "end", ""), ("quiet", "begin", ""),
        ("quiet", "note", "warning: quiet: no Server Manager: Access is denied."), ("quiet", "end", ""), ("", "begin", ""),
    )  # fmt: skip
    found = in_build(built)
    assert ("log/01", Shown.FALSE, 5) == in_log(built)["provision/20-quiet.ps1"]
    assert "no Server Manager: Access is denied." == found["provision/20-quiet.ps1"].evidence.words
    assert ("log/01", Shown.TRUE, 2) == in_log(built)["install/launch.ps1"]


def test_a_log_that_cannot_be_read_shows_nothing(built: BuiltTemplate) -> None:
    """And costs nothing."""
    (built.folder / "log" / "01").mkdir(parents=True)
    (built.folder / "log" / "01" / "history.jsonl").write_bytes(b"\xff\xfe\n")
    assert {} == in_log(built)
