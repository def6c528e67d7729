# SPDX-License-Identifier: MIT
"""Every command line that the pages show is executed as it stands there, or marked as needing Windows.

A how-to page's commands are executed by ``test_adding.py``. Each other one is a case here: ``executed`` is what is run where the
page has a placeholder or a form that takes hours, and is the page's own text otherwise. ``by`` names the test, or the
program of the project, that does what the command does, where doing it here would change the project or the host.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from capture.windows_run import driver_records, host_history, timed, trace_log
from cli.test_documentation import commands as every_command
from cli.test_documentation import options
from docs.howto import steps
from docs.shown_commands import PAGES, ROOT, STARTS, ShownCommand, blocks, commands, environment, shown
from docs.test_adding import PAGES as HOWTOS

from harness.cli.main import main
from tests.syntax import nodes, parse

RECORDED = ROOT / "tests" / "recorded" / "runs" / "be6fca0"
LAB = '[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n'


class Execution(NamedTuple):
    """How a command line is executed: as what, or by which test or program; what it must print, and the parts it needs."""

    text: str
    by: str
    said: str
    marks: str


CASES: dict[str, Execution] = {}


def case(text: str, executed: str = "", *, by: str = "", said: str = "", marks: str = "") -> None:
    """Say how the command line ``text`` is executed."""
    assert text not in CASES
    CASES[text] = Execution(executed or text, by, said, marks)


def cases(*, elsewhere: bool) -> list[Any]:
    """Return the cases that are executed here, or those that are executed elsewhere, with their markers."""
    return [
        pytest.param(how, id=text, marks=[getattr(pytest.mark, name) for name in how.marks.split()])
        for text, how in CASES.items()
        if bool(how.by) is elsewhere
    ]


WHEEL = "tests/test_wheel.py::"
PICTURE = "tests/docs/test_picture.py::test_the_picture_shows_what_the_demo_prints_today"
for words in ("./lab demo", "./lab shell -c 'tox run -e picture'"):
    # The picture is of the demo.
    case(words, by=PICTURE)
case("./lab test", by=".ci/run")
case("./lab shell -c 'tox run -e lint'", by=".ci/run")
case(
    "./lab shell -c 'pre-commit install'",
    "git init -q . && ./lab shell -c 'pre-commit install'",
    said="installed at",
)
case("./lab shell -c 'tox run -e bench'", "tox run -e bench -- qmp", said="congratulations", marks="qemu")
case("./lab shell -c 'tox run -e record'", by="tests/recorded/test_recording.py::test_a_run_is_recorded")
case(
    "./lab shell -c 'tox run -e record -- --clone PATH'",
    by="tests/recorded/test_recording.py::test_changed_sources_are_not_recorded",
)

case(
    "python3 -m pip wheel --no-deps --wheel-dir dist PATH/TO/CLONE", by=f"{WHEEL}test_wheel_has_what_git_has"
)
case("pipx install dist/hotplug_harness-*.whl", by=f"{WHEEL}test_templates_are_listed")
case("harness demo", by=f"{WHEEL}test_demo_runs_on_the_twin")
for words in (
    "pipx install 'dist/hotplug_harness-0.1.0-py3-none-any.whl[libvirt]'",
    "pipx inject hotplug-harness libvirt-python",
    "pip install 'hotplug-harness[libvirt]'",
):
    case(words, by=f"{WHEEL}test_what_needs_libvirt_names_the_extra")
for words in (
    "python3 -m venv .venv",
    ".venv/bin/pip install dist/hotplug_harness-*.whl",
    ".venv/bin/pytest --hotplug-driver=PATH/TO/SOURCES",
):
    case(words, by=f"{WHEEL}test_a_strangers_project_has_its_driver_judged")

case(
    "./lab shell -c 'tox run -e lock'",
    by="tests/setup/test_lock_file.py::test_a_lock_file_satisfies_pyproject",
)

case("./lab shell -c 'tox run -e fresh'", by=".ci/run")

case("harness accept", "harness accept veto", said="1 passed|1 case|1 of 1", marks="qemu")
case("harness accept veto 16 --guest wine", marks="wine", said="veto")
case("harness accept --list", said="veto")
case("harness diff runs/20261121-124424-veto-77c7 runs/20261121-123514-veto-e0d9", said="THEY AGREE")
case("harness import runs/20261121-091502-cpu-and-dimm-3f9c --etw lab.etl", said="etw")
case(
    "harness check runs/20261121-091502-cpu-and-dimm-3f9c-imported",
    "harness import runs/20261121-091502-cpu-and-dimm-3f9c --etw lab.etl && "
    "harness check runs/20261121-091502-cpu-and-dimm-3f9c-imported",
    said="HOLDS",
)
case("harness observe diff 'nightly/*-server-2022-*' 'nightly/*-server-2025-*'", said="different|same")
case("harness report RUN", "harness report runs/20261121-124424-veto-77c7", said="report.html: .* holds")
case(
    "harness report latest -o for-the-bug.html",
    "harness report runs/20261121-124424-veto-77c7 -o for-the-bug.html",
    said="for-the-bug.html: .* holds",
)
case(
    "harness report RUN --perfetto run.perfetto-trace",
    "harness report runs/20261121-124424-veto-77c7 --perfetto run.perfetto-trace",
    said="report.html: .* holds",
)
case("harness run cpu-and-dimm --guest host --report", said="Report:", marks="host")
case(
    "harness report --compare GOOD BAD",
    "harness report --compare runs/20261121-124424-veto-77c7 runs/20261121-123514-veto-e0d9",
    said="comparison.html: .* agree",
)
case("harness report --set runs", said="runs/report.html: .* runs, ")
case(
    "harness report --set nightly/20261121",
    by="tests/cli/test_report.py::test_the_runs_of_a_nightly_run_stand_at_their_points",
)
case("harness report --set 'runs/*-veto-*' -o veto.html", said="veto.html: .* runs, ")
for words in ("cd harness/report/web", "npm ci", "npm run check", "npm test", "npm run build"):
    case(words, by="tests/report/page/test_bundle.py::test_the_sources_give_the_same_bytes")
case("harness plan check ./mine.toml", said="mine")
case(
    "harness driver manifest guest_drivers/tiny/tiny.man --out tiny-resources",
    said="Example-tiny; events: 10; texts: en-US",
)
case(
    "harness plan schema > plan.schema.json",
    "harness plan schema > plan.schema.json && cat plan.schema.json",
    said="draft/2020-12",
)
case(
    "harness nightly --schema > lab.schema.json",
    "harness nightly --schema > lab.schema.json && cat lab.schema.json",
    said="draft/2020-12",
)
NOTIFIED = "tests/cli/test_notification.py::test_one_failure_is_one_incident_and_one_line"
FLEET = "tests/fleet/test_nightly.py::test_two_hosts_share_a_nightly_run"
for words in (
    "harness fleet scheduler",
    "harness worker --scheduler tcp://127.0.0.1:8786",
    "harness nightly --once --scheduler tcp://127.0.0.1:8786",
    "harness worker",
    "harness fleet",
):
    case(words, by=FLEET)
case(
    "./lab shell -c 'tox run -e slurm'",
    by="tests/fleet/test_slurm.py::test_jobs_are_the_hosts_of_a_nightly_run",
)
case("harness fleet certificates lab1 lab2 lab3 --out certificates", said="ca-key.pem off the hosts")
for words in (
    "harness fleet scheduler --listen tls://lab1:8786",
    "harness fleet scheduler --listen tls://127.0.0.1:8786",
):
    case(words, by="tests/fleet/test_engine.py::test_a_stranger_is_refused")
DESK = "tests/fleet/test_nightly.py::test_three_workers_at_one_desk_as_the_page_says"
for words in (
    "harness fleet certificates 127.0.0.1 --out certificates",
    "harness worker --name one --instance 1 --work work/one",
    "harness worker --name two --instance 2 --work work/two",
    "harness worker --name three --instance 3 --work work/three",
):
    case(words, by=DESK)
case("harness nightly --once --notify 'mail -s nightly lab@example.org'", by=NOTIFIED)
case("harness nightly --once --notify-as markdown --notify ./to-chat", by=NOTIFIED)
case(
    "harness nightly --once --metrics /var/lib/prometheus/node-exporter/nightly.prom",
    "harness nightly --once --metrics nightly.prom && cat nightly.prom",
    said=r'hotplug_harness_nightly_runs\{lab="lab",result="holds"\} 1',
    marks="host",
)
case("harness store load nightly", said="1 runs are new")
case(
    "harness store check", "harness store load nightly && harness store check", said="1 runs, 0 nightly runs"
)
case(
    "harness store prune --older-than 400",
    "harness store load nightly && harness store prune --older-than 400",
    said="0 runs are older than 400 days",
)
case("harness store rebuild", said="1 runs are new")
case(
    "harness history new",
    "harness nightly --once && harness store load && harness history new",
    said="New failures of",
    marks="host",
)
for words, said in (
    ("rule SYNC-EXACTLY-TWO", r"violated in 0 of \d"),
    ("flaky", "Flaky in the last 30 days"),
    ("incidents", "Incidents of the last 30 days"),
    ("known", "Known issues in the last 30 days"),
    ("slow", "Slowest runs of the last 30 days"),
    ("hosts", "Results by host, last 30 days"),
    ("never", "Rules that no run of the last 30 days exercised"),
    ("runs --failed", "Last runs"),
):
    case(f"harness history {words}", f"harness store load nightly && harness history {words}", said=said)
case("harness plan check --guest host veto ./mine.toml", said="veto")
case(
    "harness import RUN --etw tiny.etl --driver-map guest_drivers/tiny/harness.toml",
    by="tests/capture/mapping/test_driver_map.py::test_log_is_imported_by_the_map",
)
case(
    "harness run cpu-and-dimm --kd",
    by="tests/twin/test_debugger.py::test_what_is_printed_is_what_is_written_to_the_debug_port",
)
case(
    "harness run cpu-and-dimm --debugger",
    by="tests/twin/test_debugger.py::test_a_debugger_of_ones_own_gets_the_port",
)
case("harness run cpu-and-dimm --restore", said="HOLDS", marks="qemu")
case(
    "harness run cpu-and-dimm --restore --driver guest_drivers/tiny --driver-map guest_drivers/tiny/harness.toml",
    by="tests/twin/test_sample_project.py::test_command_of_the_page_holds",
)
case(
    "harness run PLAN --backend libvirt [--connect URI]",
    by="tests/twin/test_libvirt.py::test_built_in_plan_holds",
)
case(
    "harness run PLAN --backend libvirt --connect qemu+ssh://USER@HOST/system",
    by="tests/twin/test_libvirt.py::test_on_another_host",
)
case("harness repro RUN --step N", by="tests/twin/test_repro.py::test_run_is_done_again_and_handed_over")

for inner in ("info", "stat"):
    case(
        f"harness etl {inner} LOG [--manifest FILE] [--tmf DIR] [--json]",
        f"harness etl {inner} lab.etl --manifest hpnotify.man --json",
        said="{",
    )
case(
    "harness etl dump LOG [--jsonl] [--local] [SELECTION] [--manifest FILE] [--tmf DIR]",
    "harness etl dump lab.etl --jsonl --local --since 0 --until 2126-11-21T12:00:00Z --manifest hpnotify.man",
    said="{",
)
case(
    "harness etl export LOG --perfetto|--csv [--output FILE] [--local] [SELECTION] [--manifest FILE] [--tmf DIR]",
    "harness etl export lab.etl --csv --output lab.csv --processor 0 --manifest hpnotify.man && head -1 lab.csv",
    said=",",
)
for words in (
    "info demi_db9cd7_PktMon.etl",
    "dump demi_db9cd7_PktMon.etl",
    "dump fn_wppbin-sample.etl --tmf formats",
    "dump fn_wppemitter-sample.etl --tmf formats",
    "info fn_wppbin-sample.etl",
):
    case(f"harness etl {words}", by="tests/docs/test_etl_page.py::test_a_real_log_is_shown_as_it_is_printed")
case(
    "python -m tests.capture.etl.mutate --parser log --executions 1000000 --seed 1",
    "python -m tests.capture.etl.mutate --parser log --executions 20 --seed 1",
    said="20 executions",
)

FIRST_DAY = "tests/guest/windows/test_first_day.py::test_a_first_day"
case("./lab harness setup windows ntfs", by="tests/cli/test_setup.py::test_yes_installs_exactly_that")
case("./lab harness doctor", by="tests/cli/test_doctor.py::test_what_the_main_job_lacks_comes_first")
case("./lab harness evidence pack windows-server-2022", by=FIRST_DAY)
case("./lab harness evidence pack latest", by=FIRST_DAY)

case("harness ps", said="Leases of this host")
case("harness reserve", said="Nobody has reserved|is reserved by")
case(
    "harness reserve localhost --until 18:00 --why 'a debugger is attached'",
    "mkdir ../leases && harness reserve localhost --until 18:00 --why 'a debugger is attached'",
    said="is reserved by .*: a debugger is attached",
)
case(
    "harness reserve --release",
    "mkdir ../leases && harness reserve --release",
    said="There was no reservation to release",
)
for made in ("0755 /var/lib/hotplug-harness", "1777 /var/lib/hotplug-harness/leases"):
    case(
        f"sudo install -d -o root -g root -m {made}",
        by="tests/cli/test_setup.py::test_the_directory_of_leases_is_made_when_asked_for",
    )
case("harness gc --dry-run", said="Nothing is left behind|would")
case("harness gc", by="tests/lab/test_leftover.py::test_gc_asks_before_it_acts")
case("harness doctor --fix", by="tests/lab/test_leftover.py::test_doctor_fixes_what_is_safe")
case("harness nightly --dry-run", said="1 runs, 1 at once")
for words in ("harness nightly --once", "harness nightly --once --until 06:00"):
    # With options, below.
    case(words, by="tests/docs/test_shown_commands.py::test_the_command_does_what_it_says")
case("harness nightly --watch", by="tests/cli/test_nightly_view.py::test_a_second_terminal_watches")
case(
    "harness store prune --directories",
    "printf '[keep]\\ndays = 30\\n' >> lab.toml && harness store load nightly && harness store prune --directories --dry-run",
    said="0 run directories would be removed",
)
case(
    "harness nightly --once --only 'guest=twin and not plan=veto'",
    "harness nightly --once --only 'guest=host and not plan=reset or guest=host'",
    by="tests/lab/test_cell_choice.py::test_only_what_is_chosen_is_run",
)
case(
    "harness nightly --once --rerun-failed 20261129",
    by="tests/lab/test_cell_choice.py::test_what_failed_is_run_again",
)
case(
    'harness nightly --once --into nightly --name "$CI_PIPELINE_ID"',
    'harness nightly --once --until 20h --into nightly --name "$CI_PIPELINE_ID"',
    said="Nightly run 4711 of lab: 1 of 1 runs",
    marks="host",
)

SOAK = "tox -e soak -- --runs 1 --seed 7 --log $PWD/soak.jsonl --at-once 1 --no-libvirt"
case("tox -e soak", SOAK, said="congratulations", marks="qemu")
for words in ("tox -e soak -- --runs 50 --seed 7 --keep", "tox -e soak -- --log FILE --at-once 1"):
    case(words, by="tests/docs/test_shown_commands.py::test_the_command_does_what_it_says")
case(
    "tox -e boots -- --log FILE --boots 3000",
    "tox -e boots -- --log $PWD/boots.jsonl --boots 1",
    said="congratulations",
    marks="qemu",
)
case(
    "harness bisect latest --driver builds/1 builds/2 builds/3 builds/4 builds/5",
    by="tests/process_guests/test_bisect.py",
)
case("harness history runs", by="tests/docs/test_lab_page.py")
case("tox -e assertions", by="tests/test_assertion_sample.py")
case("tox -e assertions -- --seed 2 --count 30", by="tests/test_assertion_sample.py")
case("tox -e assertions -- FILE::TEST", by="tests/test_assertion_sample.py")
case("tox -e loss", by="tests/contract/test_loss.py")
case(
    "tox -e loss -- --only host-veto --two 1000",
    "tox -e loss -- --only be6fca0/host-veto --two 1",
    said="no verdict was fooled",
    marks="host",
)
case(
    "HOTPLUG_HARNESS_AT_ONCE=8 python -m pytest tests/twin/test_at_once.py",
    by="tests/twin/test_at_once.py::test_runs_at_once",
)
case(
    "python -m tests.process_guests.rule_table",
    by="tests/process_guests/test_rule_table.py::test_the_table_in_the_documents_is_what_the_runs_show",
)

WINDOWS = re.compile(
    r"--guest windows-|template (build|verify|remove) windows-|--template windows-|HOTPLUG_HARNESS_WINDOWS=|^(windbg|logman) "
)
"""What a command has that needs Windows: a guest or a template of it, or a program that exists there only."""


def followed() -> set[str]:
    """Return the command lines that following a how-to page executes."""
    texts = [step.text for page in HOWTOS for step in steps(*page.values) if step.kind == "run"]
    return {line[2:] for text in texts for line in text.splitlines() if line.startswith("$ ")}


def make_place(here: Path) -> Path:
    """Return a directory in which a reader who followed the pages could be: runs, a plan, a log, a lab of one run."""
    (here / "runs").mkdir(parents=True)
    for name in ("runs/20261121-124424-veto-77c7", "runs/20261121-123514-veto-e0d9"):
        shutil.copytree(RECORDED / "host-veto", here / name)
    for build in ("2022", "2025"):
        shutil.copytree(RECORDED / "host-cpu-and-dimm", here / f"nightly/20261121-server-{build}-1")
    records = timed("mark S2 C2 V mark unload")
    host_history(here / "runs/20261121-091502-cpu-and-dimm-3f9c", records)
    trace_log(here / "lab.etl", driver_records(records))
    shutil.copy(ROOT / "guest_drivers" / "hpnotify" / "src" / "hpnotify.man", here)
    plan = next(
        b for b in blocks((ROOT / "docs" / "plans.md").read_text(encoding="utf-8")) if b.language == "toml"
    )
    (here / "mine.toml").write_text("".join(f"{line}\n" for _, line in plan.lines))
    (here / "lab.toml").write_text(LAB)
    for name in ("guest_drivers", "lab", "tests"):
        (here / name).symlink_to(ROOT / name)
    return here


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Such a directory for one test."""
    return make_place(tmp_path / "here")


LOAD = "harness store load nightly && "
"""What precedes a question to the store."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Such a directory for all tests that ask a loaded store, and its environment."""
    base = tmp_path_factory.mktemp("loaded")
    here, environ = make_place(base / "here"), environment(base)
    assert 0 == executed(LOAD.removesuffix(" && "), here, environ)[0]
    return here, environ


def in_bash(command: str, place: Path, environ: dict[str, str]) -> tuple[int, str]:
    """Execute a command in a shell, and return its exit code and output."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


def executed(command: str, place: Path, environ: dict[str, str]) -> tuple[int, str]:
    """Execute a quick command, and return its exit code and output. One of Python needs no process of its own."""
    line, _, file = command.partition(" > ")
    name, *words = shlex.split(line)
    module = words[1] if [name, *words[:1]] == ["python", "-m"] else ""
    if name != "harness" and not module:
        return in_bash(command, place, environ)
    said = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        patch.chdir(place)
        for name, value in environ.items():
            patch.setenv(name, value)
        if module:
            patch.setattr(sys, "argv", words[1:])
            with pytest.raises(SystemExit) as ended:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            code = ended.value.code or 0
        else:
            code = main(words)
    if file:
        (place / file).write_text(said.getvalue())
        return code, ""
    return code, said.getvalue()


def in_shell(text: str) -> str:
    """Return a command of the clone as one of the shell that ``./lab shell`` opens; tests/setup tries ``./lab`` itself."""
    return re.sub(r"\./lab (harness )?", "harness ", text.replace("./lab shell -c", "bash -c"))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", cases(elsewhere=False))
def test_the_command_does_what_it_says(
    how: Execution, place: Path, loaded: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """It ends well and prints what it is for."""
    command, environ = in_shell(how.text), environment(tmp_path)
    if command.startswith(LOAD):
        command = command.removeprefix(LOAD)
        place, environ = loaded
    if how.marks:
        ends = [in_bash(command, place, environ)]
    else:
        ends = [executed(part, place, environ) for part in command.split(" && ")]
    printed = "".join(output for _, output in ends)
    assert {0} == {code for code, _ in ends}, printed
    assert re.search(how.said, printed), printed


@functools.cache
def functions(text: str) -> set[str]:
    """Return the names of the functions in a file of tests."""
    return {node.name for node in nodes(parse(text)) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("how", cases(elsewhere=True))
def test_what_else_executes_a_command_exists(how: Execution) -> None:
    """The test that is named is one, and the program that is named has the command."""
    given, by = how.text, how.by
    file, _, name = by.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    if not file.endswith(".py"):
        assert given in text.replace(" -qq", "")
        return
    tests = functions(text)
    assert any(test.startswith("test_") for test in tests)
    assert name in {*tests, ""}
    for option in re.findall(r"--([a-z][a-z-]+)", given):
        assert re.search(rf"\b{option.replace('-', '[-_]')}\b", text), f"{file} does nothing with --{option}"


@pytest.mark.parametrize("command", shown(), ids=lambda one: f"{one.page}:{one.line}")
def test_every_command_line_is_executed_or_needs_windows(command: ShownCommand) -> None:
    """A command line is a case here, a step of a how-to page, or marked; a mark is on what needs Windows, and only there."""
    needs_windows = WINDOWS.search(command.text) is not None
    assert ("Windows" if needs_windows else "") == command.needs, command
    assert needs_windows or command.text in CASES or command.text in followed(), command


def test_no_case_is_left_of_a_command_that_is_gone() -> None:
    """Each case's command line still stands on a page."""
    assert set() == set(CASES) - {command.text for command in shown()}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a\n\n    harness ps     said\n    harness gc\n\nb\n", ["harness ps", "harness gc"]),
        ("```sh\n./lab test   # the tests\n```\n", ["./lab test"]),
        ("```console\n$ harness ps\nno machines\n```\n", ["harness ps"]),
        ("```text\nharness ps\n```\n", []),
        ("```yaml\nscript:\n  - harness ps\n  - other\n```\n", ["harness ps"]),
        ("a list\n- of\n    words\n", []),
    ],
)
def test_what_a_command_line_is(text: str, found: list[str], tmp_path: Path) -> None:
    """Indented blocks and shell blocks are commands; console and yaml blocks say which line is one; text is none."""
    page = tmp_path / "page.md"
    page.write_text(text)
    assert found == [command.text for command in commands(page)]


def test_a_mark_counts_for_the_block_below_it() -> None:
    """An indented block and a fenced one, and not what follows."""
    text = "<!-- needs: Windows -->\n\n    a\n    b\n\nc\n\n    d\n\n<!-- needs: Windows -->\n```sh\ne\n```\n"
    assert [("Windows", 2), ("", 1), ("Windows", 1)] == [
        (b.needs, len([x for x in b.lines if x[1]])) for b in blocks(text)
    ]


def test_languages_are_known() -> None:
    """A block is in a language of which it is known whether it holds commands."""
    others = {"text", "python", "toml", "diff", "c", "json", "ini", "powershell", "sql", "groovy", "bash"}
    found = {
        b.language for page in (ROOT / "docs").glob("*.md") for b in blocks(page.read_text(encoding="utf-8"))
    }
    assert set() == found - others - set(STARTS)


def test_readme_is_short_and_begins_with_two_commands() -> None:
    """Under 120 lines, and the first two commands are those of a fresh clone."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = [command.text for command in commands(ROOT / "README.md")][:2]
    assert (True, ["./lab demo", "./lab test"]) == (len(text.splitlines()) < 120, first)


def test_no_command_hides_in_printed_text() -> None:
    """A block of the language text begins no line as a command line does, but for a synopsis."""
    hidden = [
        line
        for page in PAGES
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.language == "text"
        for _, line in block.lines
        if re.match(r"(\$ )?(\./lab|harness|python -m|pytest|tox) (?!\[)", line)
    ]
    assert [] == hidden


ADDED = {"harness records RUN", "harness import --serial FILE"}
"""What following a how-to page adds; the page's own steps execute it."""


def spans() -> list[tuple[str, str]]:
    """Return the commands of the harness that stand between words, each with its page."""
    found = set()
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for span in re.findall(r"`(?:\./lab )?(harness [^`]+)`", " ".join(prose.split())):
            found.add((page.name, span))
    return sorted(one for one in found if one[1] not in ADDED)


@pytest.mark.parametrize(("page", "span"), spans())
def test_a_command_between_words_can_be_given(page: str, span: str) -> None:
    """The command exists, and so does each of its options."""
    words = span.split()[1:]
    known = every_command()
    name = next((" ".join(words[:count]) for count in (2, 1) if " ".join(words[:count]) in known), "")
    given = {option.partition("=")[0] for option in words if re.match(r"--?[a-z]", option)}
    allowed = {*options(known[name]), "--help", "-h"} if name else {"--version", "--help", "-h"}
    assert name or given or words[0].isupper(), f"{page}: there is no command {span}"
    assert set() == {option.rstrip("…") for option in given} - allowed, f"{page}: {span}"
