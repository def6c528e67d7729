# SPDX-License-Identifier: MIT
"""Completion: what real shells offer at a press of Tab, with the scripts that ``harness completion`` prints."""

from __future__ import annotations

import contextlib
import io
import os
import select
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.command_tree import command_tree
from harness.cli.completion import SHELLS, VARIABLE, source_of
from harness.cli.main import main
from harness.errors import ExitCode
from harness.guest.guest_types import GUEST_TYPES
from harness.run.plan import built_in_plans

ASK = {
    "bash": """
eval "$(harness completion bash)"
COMP_WORDS=("${@}"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_harness_completion harness
printf '%s\\n' "${COMPREPLY[@]}"
""",
    # What _arguments would show is asked of it by a function in its place: it needs a terminal to show anything.
    "zsh": """
compdef() { : }
_arguments() { items=${${1#*\\(\\(}%\\)\\)}; for item in ${(Q)${(z)items}}; do print -r -- ${${item%%:*}//\\"} ; done }
_files() { print -r -- FILES }
eval "$(harness completion zsh)"
words=("$@"); CURRENT=$#words
_harness_completion
""",
    "fish": """
harness completion fish | source
complete --do-complete (string join ' ' -- $argv)
""",
}
"""Loads the script as its page says and asks for what completes the words given."""


PROGRAM = """#!/bin/bash
if [ "$1" = completion ]; then
    script=$(dirname "$0")/$2
    [ -e "$script" ] || "{python}" -m harness "$@" > "$script" || exit
    exec cat "$script"
fi
[ "$ANSWERS" ] || exec "{python}" -m harness "$@"
exec 3<>/dev/tcp/127.0.0.1/"$ANSWERS"
printf '%s\\0' {variables} >&3
exec cat <&3
"""
"""The program in a shell's PATH: it is asked once for each shell's script, and a test may give the answers in its place."""

VARIABLES = (
    VARIABLE,
    "COMP_WORDS",
    "COMP_CWORD",
    "_TYPER_COMPLETE_ARGS",
    "_TYPER_COMPLETE_FISH_ACTION",
)
"""What the shells' scripts tell the program (Typer: _completion_shared.py)."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, and with ``harness`` as a program."""
    tmp_path = tmp_path_factory.mktemp("completion")
    for name in ("20261129-101500-reload-aaaa", "20261129-101600-veto-bbbb"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "history.jsonl").touch()
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "a b;touch pwned").mkdir()
    (tmp_path / "runs" / "a b;touch pwned" / "history.jsonl").touch()
    (tmp_path / "runs" / "latest").symlink_to("20261129-101600-veto-bbbb")
    program = tmp_path / "bin" / "harness"
    program.parent.mkdir()
    variables = " ".join(f'"${name}"' for name in VARIABLES)
    program.write_text(PROGRAM.format(python=sys.executable, variables=variables))
    program.chmod(0o755)
    return tmp_path


def answer(asked: bytes, place: Path) -> bytes:
    """Return what the command prints with these values of the variables."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.chdir(place)
        for name, value in zip(VARIABLES, asked.decode().split("\0"), strict=False):
            patch.setenv(name, value)
        with pytest.raises(SystemExit):
            main([])
    return said.getvalue().encode()


def offered(shell: str, place: Path, *words: str, process: bool = False) -> list[str]:
    """Return what ``shell`` offers for the last of ``words``. With ``process`` the command is a process of its own."""
    program = shutil.which(shell)
    assert program is not None
    quiet = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    script = place / f"ask.{shell}"
    script.write_text(ASK[shell])
    with socket.create_server(("127.0.0.1", 0)) as server:
        environment = {
            "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "HOME": str(place),
            "ANSWERS": "" if process else str(server.getsockname()[1]),
        }
        asking = subprocess.Popen(
            [program, *quiet, script, "harness", *words], cwd=place, env={**os.environ, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        ends = os.pidfd_open(asking.pid)
        try:
            while ends not in (ready := select.select([server, ends], [], [], 60)[0]):
                assert ready, "the shell does not end"
                with server.accept()[0] as connection:
                    asked = b""
                    while asked.count(b"\0") < len(VARIABLES):
                        asked += connection.recv(4096)
                    connection.sendall(answer(asked, place))
        finally:
            os.close(ends)
            asking.kill()
            out, err = asking.communicate(timeout=60)
    assert "" == err
    return sorted(line.partition("\t")[0] for line in out.splitlines() if line)


@pytest.mark.parametrize(
    "shell", [pytest.param(name, marks=[] if name == "bash" else pytest.mark.shells) for name in SHELLS]
)
def test_plans_guests_and_runs_are_offered(shell: str, place: Path) -> None:
    """Names begin with what was typed; a name that a shell would execute is left out."""
    assert sorted(name for name in built_in_plans() if name.startswith("re")) == offered(
        shell, place, "run", "re", process=True
    )
    assert sorted(name for name in GUEST_TYPES if name.startswith("w")) == offered(
        shell, place, "run", "--guest", "w"
    )
    whole = ["20261129-101500-reload-aaaa", "20261129-101600-veto-bbbb", "latest"]
    assert [f"runs/{name}" for name in whole] == offered(shell, place, "check", "runs/")
    assert [f"{place}/runs/{name}" for name in whole[:2]] == offered(shell, place, "diff", f"{place}/runs/2")
    assert {"check", "completion"} <= set(offered(shell, place, "c"))
    assert not (place / "pwned").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["demo", "--accel", ""], ["auto", "kvm", "tcg"]),
        (
            ["check", ""],
            ["runs/20261129-101500-reload-aaaa", "runs/20261129-101600-veto-bbbb", "runs/latest"],
        ),
        (["check", "nowhere/"], []),
        (["run", "./mine"], []),
        (["template", "sh"], ["show"]),
        (["completion", "z"], ["zsh"]),
    ],
)
def test_what_bash_offers(words: list[str], expected: list[str], place: Path) -> None:
    """Fixed values, the runs of the folder ``runs``, groups; nothing where the shell's own file names are right."""
    assert expected == offered("bash", place, *words)


@pytest.mark.parametrize(
    "line", ["", "r", "--v", "run re", "template ", "demo --accel ", "nosuch ", "etl dump --"]
)
@pytest.mark.parametrize("shell", SHELLS)
def test_one_command_is_enough_to_complete_it(
    shell: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tree of the command line alone, which takes half the time, offers what the tree of all commands does."""
    words = ["harness", *line.split(" ")]
    monkeypatch.setenv(VARIABLE, f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS" if shell == "bash" else "_TYPER_COMPLETE_ARGS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")

    def offers() -> str:
        with pytest.raises(SystemExit):
            main([])
        return capsys.readouterr().out

    one = offers()
    monkeypatch.setattr("harness.cli.main.command_for", lambda _: command_tree())
    assert one == offers()
    assert one.strip()


def test_every_parameter_that_names_something_of_the_harness_is_completed() -> None:
    """A command added later gets its candidates by its metavar."""
    missing = []

    def visit(command: object, path: str) -> None:
        for parameter in command.params:  # type: ignore[attr-defined]
            names = (parameter.metavar or "").strip("[].").rstrip(".") in ("PLAN", "RUN", "CASE")
            if (names or parameter.name == "guest") and source_of(parameter) is None:
                missing.append(f"{path} {parameter.name}")
        for name, inner in getattr(command, "commands", {}).items():
            visit(inner, f"{path} {name}")

    visit(command_tree(), "harness")
    assert [] == missing


def test_another_shell_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names those that there are."""
    assert ExitCode.USAGE == main(["completion", "tcsh"])
    assert "There are: bash, zsh, fish." in capsys.readouterr().err
