# SPDX-License-Identifier: MIT
"""Every option of a run is in every door, or a reason says why not; the doors read and refuse alike."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
import typer.main
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cli.command_tree import command_tree
from harness.cli.main import main
from harness.cli.run_options import with_run_options
from harness.errors import UsageError
from harness.guest.fault_injection import ALL_FAULTS
from harness.lab.lab_document import LabDocument, document_kind
from harness.lab.matrix import decode_matrix
from harness.run.option import Option, options_of
from harness.run.options import DEFAULTS, RunLimits, RunOptions, Timeouts, made
from harness.size import Size
from harness.testing.settings import SETTINGS, Settings

OPTIONS = options_of(RunOptions)
COMMANDS = command_tree().commands


def offered(door: str) -> set[str]:
    """Return what a door really has: options of a command, keys of lab.toml, options of pytest."""
    if door == "lab":
        own = {field.name for field in msgspec.structs.fields(LabDocument)}
        return {field.name for field in msgspec.structs.fields(document_kind())} - own
    if door == "pytest":
        return {setting.option for setting in SETTINGS}
    return {name for parameter in COMMANDS[door].params for name in parameter.opts}


def spelled(option: Option, door: str) -> set[str]:
    """Return how a door would spell an option."""
    if door == "lab":
        return {option.name.replace("-", "_")}
    if door == "pytest":
        return {f"--hotplug-{option.names.get('pytest', option.name)}"}
    return {f"--{flag}" for flag in option.flags or [option.name]}


@pytest.mark.parametrize("door", list(DEFAULTS))
def test_every_option_is_there_or_says_why_not(door: str) -> None:
    """No option is left out in silence, and none is there against its own reason."""
    there = offered(door)
    for option in OPTIONS:
        why = option.absent.get(door, "")  # type: ignore[call-overload]
        assert (option.name, not why) == (option.name, spelled(option, door) <= there)


def test_the_page_of_the_lab_lists_its_keys() -> None:
    """docs/lab.md has every key of a lab.toml, and no other."""
    page = (Path(__file__).parents[2] / "docs" / "lab.md").read_text(encoding="utf-8")
    table = re.search(r"^\| key \|.*\n\|[- |]+\n((?:\|.*\n)*)", page, flags=re.MULTILINE)
    assert table is not None
    listed = [
        name.strip("[]")
        for row in table[1].splitlines()
        for name in re.findall(r"`(.+?)`", row.split("|")[1])
    ]
    assert sorted(field.name for field in msgspec.structs.fields(document_kind())) == sorted(listed)


def test_every_field_is_an_option() -> None:
    """Nothing of a run can be set only by a program, but for the times that follow the guest's pace."""
    fields = set(RunOptions.__dataclass_fields__) - {"budget", "limits"}
    parts = {f"budget.{name}" for name in Timeouts.__dataclass_fields__}
    parts |= {f"limits.{name}" for name in RunLimits.__dataclass_fields__}
    paced = {"budget.operation", "budget.consequence", "budget.quiet"}
    assert (fields | parts) - paced == {option.field for option in OPTIONS}


ADD = """
import dataclasses, gc, json, sys
gc.disable()
from pathlib import Path
from typing import Annotated

import harness.run.options as options
from harness.run.option import Option

@dataclasses.dataclass(frozen=True, kw_only=True)
class More(options.RunOptions):
    shiny: Annotated[str, Option("Make it shine.", metavar="HOW")] = ""

options.RunOptions = More

import typer.main
from harness.cli.command_tree import whole
from harness.repro.recorded_run import RunRequest
from harness.run.operation import Quiesce
from harness.run.plan import Plan
from harness.run.run import Run
from harness.lab.matrix import decode_matrix
from harness.testing.settings import SETTINGS

commands = typer.main.get_command(whole()).commands
text = 'shiny = "very"\\n[[plan]]\\nplan = "veto"\\n'
lab = decode_matrix(text, name="lab.toml", base=Path())
here = Path(sys.argv[1])
request = RunRequest(plan=Plan(name="p", do=[Quiesce()]), runs=here, cache=here, argv=[], shiny="so")
run = Run(request)
run.writer.close()
print(json.dumps({
    "commands": [name for name in commands if "--shiny" in {o for p in commands[name].params for o in p.opts}],
    "lab": {point: asked.options.words() for point, asked in lab.requests.items()},
    "pytest": [(s.option, s.variable, s.key) for s in SETTINGS if s.name == "shiny"],
    "recorded": run.facts.request["shiny"],
}))
"""


def test_option_that_is_added_is_in_every_door(tmp_path: Path) -> None:
    """One field more is an option of the commands, of lab.toml and its runs, of pytest, and is kept in run.json."""
    done = subprocess.run(
        [sys.executable, "-c", ADD, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert "" == done.stderr
    assert {
        "commands": ["demo", "run", "repro", "explore", "accept"],
        "lab": {"twin.default.default.veto": ["--report-failed", "--retry", "--shiny", "very"]},
        "pytest": [["--hotplug-shiny", "HOTPLUG_SHINY", "hotplug_shiny"]],
        "recorded": "so",
    } == json.loads(done.stdout)


@functools.cache
def run_command() -> tuple[Any, list[RunOptions]]:
    """Return a command with the options of ``harness run``, and the list to which it adds what it was given."""
    seen: list[RunOptions] = []
    one = typer.Typer(add_completion=False)

    @one.command()
    @with_run_options("run")
    def run(options: dict[str, Any]) -> int:
        seen.append(made("run", options))
        return 0

    return typer.main.get_command(one), seen


def read_back(words: list[str]) -> RunOptions:
    """Return what the command line of ``harness run`` makes of some words."""
    command, seen = run_command()
    command.main(words, standalone_mode=False)
    return seen.pop()


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SECONDS = st.floats(1, 604800)
HERE = str(Path(__file__))


def possible(values: dict[str, Any]) -> RunOptions | None:
    """Return the options, None for what cannot be combined."""
    try:
        return RunOptions(**values)
    except UsageError:
        return None


SOME_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "guest": st.sampled_from(["twin", "host", "wine"]),
        "accelerator": st.sampled_from(["auto", "kvm", "tcg"]),
        "qemu": TEXTS,
        "backend": st.sampled_from(["qemu", "libvirt"]),
        "connect": st.sampled_from(["", "qemu:///system", "qemu+ssh://me@there/system?keyfile=/k"]),
        "machine": TEXTS.filter(bool),
        "firmware": st.sampled_from(["", HERE]),
        "monitor": st.booleans(),
        "restore": st.booleans(),
        "kd": st.sampled_from(["", "listen", "debugger"]),
        "inject_fault": st.sampled_from(["", "duplicate-start"]),
        "driver": st.sampled_from(["", HERE, str(Path(HERE).parent)]),
        "driver_map": st.sampled_from(["", HERE]),
        "runs": TEXTS.map(Path),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "budget": st.builds(Timeouts, boot=SECONDS, test=SECONDS, evidence=st.floats(0, 604800)),
        "dump": st.integers(0, 1 << 50).map(lambda number: Size(str(number))),
        "retry": st.booleans(),
    },
).map(possible)


@settings(max_examples=examples(100), deadline=None)
@given(SOME_OPTIONS.filter(bool))
def test_words_are_read_back_as_the_same_options(options: RunOptions) -> None:
    """Whatever is set, the arguments that a nightly run gives ``harness run`` mean the same there."""
    assert options == read_back(options.words())


def refusal(
    door: str, key: str, value: str, pytester: pytest.Pytester, caught: pytest.CaptureFixture[str]
) -> str:
    """Return the words with which a door refuses a value, without where it was set."""
    option = next(one for one in OPTIONS if one.name == key)
    if door == "pytest":
        with pytest.raises(pytest.UsageError) as refused:
            Settings(pytester.parseconfig(f"--hotplug-{key}={value}"), {}).check()
        return str(refused.value).removeprefix(f"--hotplug-{key}: ")
    if door == "lab":
        text = f'{option.key("lab")} = "{value}"\n' if key != "guest" else f'[[guest]]\nname = "{value}"\n'
        with pytest.raises(UsageError) as wrong:
            decode_matrix(f'{text}[[plan]]\nplan = "veto"\n', name="lab.toml", base=Path())
        return str(wrong.value).partition(": ")[2]
    assert 64 == main([door, *(["veto"] if door == "run" else []), f"--{key}", value])
    return caught.readouterr().err.rstrip().removeprefix(f"harness: --{key}: ")


@pytest.mark.parametrize(
    ("key", "value", "doors", "words"),
    [
        ("guest", "twim", "run accept lab pytest", "no guest is called 'twim'\n  Did you mean 'twin'? There are: twin,"),
        ("accel", "tgc", "run demo accept lab pytest", "no accelerator is called 'tgc'\n  Did you mean 'tcg'? There are"),
        ("dump", "4 Gb", "run demo accept lab pytest", "expected a size like \"256 MiB\", got '4 Gb'"),
        ("boot-timeout", "soon", "run demo accept lab pytest", "expected seconds from 1 to 604800, got 'soon'"),
        ("driver-map", "/none.toml", "run accept lab pytest", "there is no file '/none.toml'"),
        ("driver", "/none.sys", "run accept pytest", "there is no file or folder '/none.sys'\n  The guests twin and host take a folder of C sources. For wine and Windows, this makes a driver's file: harness driver build"),
        ("backend", "libvirtd", "run demo accept pytest", "no backend is called 'libvirtd'\n  Did you mean 'libvirt'?"),
    ],
)  # fmt: skip
def test_the_same_mistake_is_refused_in_the_same_words(
    pytester: pytest.Pytester,
    capsys: pytest.CaptureFixture[str],
    key: str,
    value: str,
    doors: str,
    words: str,
) -> None:
    """In each door, after the place where it was set."""
    said = {door: refusal(door, key, value, pytester, capsys) for door in doors.split()}
    assert 1 == len(set(said.values())), said
    assert typed_as_harness(said[doors.split()[0]]).startswith(words)


def test_an_option_is_suggested_only_if_it_is_like_the_one_typed(capsys: pytest.CaptureFixture[str]) -> None:
    """The dashes that all options share do not make two alike."""
    assert 64 == main(["repro", "runs/latest", "--into", "x"])
    assert "no such option: --into\n" in capsys.readouterr().err
    assert 64 == main(["repro", "runs/latest", "--dbgprnt"])
    assert "no such option: --dbgprnt. Did you mean --dbgprint?" in capsys.readouterr().err


def typed_as_harness(text: str) -> str:
    """Return a message whose commands begin as if ``harness`` had been typed; pytest's plugin may have been loaded by ``./lab``."""
    return text.replace("./lab harness ", "harness ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["repro", "runs/latest", "--guest", "host"], "repro has no --guest: a run is repeated as it was recorded;"),
        (["repro", "runs/latest", "--seed", "3"], "repro has no --seed: a run is repeated as it was recorded;"),
        (["demo", "--driver", "x"], "demo has no --driver: the demo is the twin's"),
        (["accept", "--inject-fault", "x"], "accept has no --inject-fault: it tests the checker, not a guest"),
        (["run", "veto", "--vnc"], "run has no --vnc: it is for interactive use: harness repro RUN --step"),
        (["run", "veto", "--kd", "--debugger"], "--kd and --debugger exclude each other"),
        (["accept", "--restore", "--cold"], "--restore and --cold exclude each other"),
    ],
)  # fmt: skip
def test_option_that_a_command_does_not_have_says_why(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """With 64, and with the reason instead of a guess."""
    assert 64 == main(words)
    assert typed_as_harness(capsys.readouterr().err).startswith(f"harness: {message}")


@pytest.mark.parametrize("words", [["demo"], ["run"], ["explore"]], ids=lambda words: words[0])
def test_the_list_of_faults_fits_a_terminal(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault's name is apart from what it does, and no line is longer than 80 columns."""
    assert main([*words, "--list-faults"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [] == [line for line in lines if len(line) > 80]
    named = {line.split("  ")[0] for line in lines if not line.startswith(" ")}
    assert named == set(ALL_FAULTS)


def test_a_misspelt_fault_gets_the_nearest_and_the_list() -> None:
    """Not all names in one line."""
    with pytest.raises(UsageError) as caught:
        made("run", {"inject_fault": "missing-complet"})
    assert re.fullmatch(
        r"Did you mean 'missing-complete'\? .* demo --list-faults lists them\.", caught.value.hint
    )
