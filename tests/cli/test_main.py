# SPDX-License-Identifier: MIT
"""The command line: what it accepts, what it says when misused, and that 1 never means anything but violated."""

import ast
import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.test_check import record
from report.records import hot_add
from small_disk import small_disk

import harness
from harness.cli import main as command_line
from harness.cli.command_tree import COMMANDS as MODULES
from harness.cli.command_tree import command_for, command_tree, whole, with_own_place
from harness.cli.revision import revision
from harness.errors import (
    MAKE_ROOM,
    ExitCode,
    GuestHang,
    HarnessError,
    InfrastructureError,
    MissingPart,
    UsageError,
)
from harness.interrupts import Interrupted
from tests.syntax import nodes, parse

Caught = pytest.CaptureFixture[str]

COMMANDS = list(command_tree().commands)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """A command ``fail`` that raises what is put into the list."""
    raised: list[BaseException] = []

    def fail() -> None:
        raise raised[0]

    whole().command("fail", hidden=True)(fail)
    command_tree.cache_clear()
    yield raised
    whole().registered_commands.pop()
    command_tree.cache_clear()


def harness_process(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "import sys; from harness.cli.main import main; sys.exit(main())", *arguments],
        check=False,
        timeout=60,
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_violation(closed: str, tmp_path: Path) -> None:
    """Cron and daemons close streams: nothing is said there then, and the exit code is the command's own."""
    for words, code in (("rules", ExitCode.HOLDS), (f"check {tmp_path}", ExitCode.USAGE)):
        command = ["sh", "-c", f'exec "$0" -m harness {words} {closed}', sys.executable]
        ended = subprocess.run(command, check=False, timeout=60, capture_output=True, text=True)
        assert (code, False) == (ended.returncode, "Traceback" in ended.stderr)


def test_a_pipe_that_refuses_what_does_not_fit_gets_everything() -> None:
    """Programs with an event loop hand over pipes that do not block; a reader that is slower than the writer misses nothing."""
    whole = harness_process("rules", "--json", stdout=subprocess.PIPE).stdout
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    command = [sys.executable, "-m", "harness", "rules", "--json"]
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            read = pipe.read()
    assert (ExitCode.HOLDS, whole) == (process.returncode, read)


def test_the_version_is_the_package_s(capsys: Caught) -> None:
    """--version prints one line with version and revision and ends with 0."""
    at = revision(Path(harness.__file__).parent)
    assert [0, f"harness {harness.__version__}{f' ({at})' if at else ''}\n"] == [
        command_line.main(["--version"]),
        capsys.readouterr().out,
    ]


@pytest.mark.parametrize("words", [["--plant", "no-such"], ["--plant=no-such"]])
def test_former_names_of_options_are_taken(words: list[str], capsys: Caught) -> None:
    """A script that says --plant does what it did; messages and help have the option's name alone."""
    code = command_line.main(["demo", *words])
    said = capsys.readouterr().err
    assert [ExitCode.USAGE, True] == [code, "--inject-fault: no fault is called 'no-such'" in said]
    assert ExitCode.HOLDS == command_line.main(["demo", "--list-plants"])
    assert ExitCode.USAGE == command_line.main(["nightly", "--night"])
    assert "option '--name' requires an argument" in capsys.readouterr().err
    command_line.main(["demo", "--help"])
    assert "plant" not in capsys.readouterr().out


def test_former_name_after_a_double_dash_is_a_word(capsys: Caught) -> None:
    """What follows -- is no option, so it is taken as it is."""
    assert ExitCode.USAGE == command_line.main(["run", "--", "--plant"])
    assert "no plan is called '--plant'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_plain_and_names_every_command(option: str, capsys: Caught) -> None:
    """Help lists the commands in the order of use, without frames or colours."""
    code = command_line.main([option])
    text = capsys.readouterr().out
    commands = [
        line.split()[0] for line in text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    ]
    assert [0, COMMANDS] == [code, commands]
    assert text.isascii()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["chekc"],
            f"harness: no such command 'chekc'. Did you mean 'check'? There are: {', '.join(COMMANDS)}.\n  'harness --help' shows what there is.\n",
        ),
        (
            ["zzz"],
            f"harness: no such command 'zzz'. There are: {', '.join(COMMANDS)}.\n  'harness --help' shows what there is.\n",
        ),
        (
            ["check", "--jsno", "x"],
            "harness: no such option: --jsno. Did you mean --json?\n  'harness check --help' shows what there is.\n",
        ),
        (
            ["observe", "dif"],
            "harness: no such command 'dif'. Did you mean 'diff'? There are: show, diff.\n  'harness observe --help' shows what there is.\n",
        ),
        (["check"], "harness: missing argument 'RUN'.\n  'harness check --help' shows what there is.\n"),
        (["doctor", "more"], None),
        (["doctor", "--qemu"], None),
        (["run", "--boot-timeout", "soon"], None),
        (["repro", "latest", "--repeat", "two"], None),
        (["repro", "latest", "--repeat", "0"], None),
    ],
)
def test_misuse_is_64_with_the_way_out(arguments: list[str], expected: str | None, capsys: Caught) -> None:
    """Unknown commands, options and wrong values give one message, a guess where there is one, and 64."""
    code = command_line.main(arguments)
    caught = capsys.readouterr()
    assert [ExitCode.USAGE, ""] == [code, caught.out]
    assert caught.err.startswith("harness: ")
    # Pydantic's words, which Typer passes on.
    assert "Input should" not in caught.err
    assert expected in (None, caught.err)


def test_no_command_at_all_is_misuse(capsys: Caught) -> None:
    """A script whose variable was empty does not go on as if a run had held."""
    assert ExitCode.USAGE == command_line.main([])
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            UsageError("no plan is called 'x'", hint="Plans: a, b"),
            64,
            "harness: no plan is called 'x'\n  Plans: a, b\n",
        ),
        (MissingPart("no QEMU", hint="one\ntwo"), 69, "harness: no QEMU\n  one\n  two\n"),
        (GuestHang("not ready"), 3, "harness: not ready\n"),
        (GuestHang("panic: \x1b[2J\u202e"), 3, "harness: panic: \\x1b[2J\\u202e\n"),
        (HarnessError(""), 69, "harness: \n"),
        (KeyboardInterrupt(), 130, "harness: interrupted\n"),
        (
            ZeroDivisionError("oops"),
            69,
            (
                "harness: a defect of the harness itself: ZeroDivisionError: oops\n"
                "  Please report it with the traceback that HOTPLUG_HARNESS_DEBUG=1 shows.\n"
            ),
        ),
        (RecursionError("deep"), 69, None),
        (Interrupted(1), 129, "harness: interrupted by SIGHUP\n"),
        (
            PermissionError(13, "Permission denied", "/locked"),
            69,
            (
                "harness: cannot use /locked: Permission denied\n"
                "  HOTPLUG_HARNESS_DEBUG=1 shows what the command was doing.\n"
            ),
        ),
        (
            OSError(18, "Invalid cross-device link", "a", None, "b"),
            69,
            (
                "harness: cannot use a and b: Invalid cross-device link\n"
                "  HOTPLUG_HARNESS_DEBUG=1 shows what the command was doing.\n"
            ),
        ),
        (BrokenPipeError(32, "Broken pipe"), 69, None),
    ],
)
def test_errors_become_messages_and_exit_codes(
    failing: list[BaseException], error: BaseException, code: int, text: str | None, capsys: Caught,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each class of error has its exit code and a message without a traceback, escaped for the terminal."""
    monkeypatch.delenv(command_line.DEBUG, raising=False)
    failing.append(error)
    assert code == command_line.main(["fail"])
    caught = capsys.readouterr().err
    assert text in (None, caught)
    assert "Traceback" not in caught


def test_an_interruption_that_became_another_error_is_one(
    failing: list[BaseException], capsys: Caught
) -> None:
    """Python 3.11 raises RuntimeError in place of a signal's exception while it creates a class."""
    error = RuntimeError("Error calling __set_name__ on 'Field' instance 'opens' in 'Load'")
    error.__cause__ = Interrupted(signal.SIGTERM)
    failing.append(error)
    assert command_line.main(["fail"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "harness: interrupted by SIGTERM\n"


@pytest.mark.parametrize("error", [InfrastructureError("full"), ZeroDivisionError("oops")])
def test_debugging_adds_the_traceback_and_keeps_the_exit_code(
    failing: list[BaseException], error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: Caught
) -> None:
    """With HOTPLUG_HARNESS_DEBUG set the traceback comes before the message, and the code is not Python's 1."""
    monkeypatch.setenv(command_line.DEBUG, "1")
    failing.append(error)
    assert ExitCode.INFRASTRUCTURE == command_line.main(["fail"])
    trace, _, message = capsys.readouterr().err.rpartition("harness: ")
    assert [True, True] == [trace.startswith("Traceback"), str(error) in message]


def test_a_reader_that_goes_away_changes_neither_messages_nor_exit_code() -> None:
    """Writing to a pipe without a reader ends quietly, with the code that the command has earned."""
    reader, writer = os.pipe()
    os.close(reader)
    ended = harness_process("--version", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert [0, b""] == [ended.returncode, ended.stderr]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_cannot_be_written_is_infrastructure() -> None:
    """A full disk under standard output is said, not lost."""
    with Path("/dev/full").open("wb") as full:
        ended = harness_process("--version", stdout=full, stderr=subprocess.PIPE)
    assert [69, b"harness: cannot write to standard output: No space left on device\n"] == [
        ended.returncode,
        ended.stderr,
    ]


def leaves(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each command with its words."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
    for name, one in (inner or {}).items():
        yield from leaves(one, *words, name)


def hints() -> set[str]:
    """Return every text of the package that names ``--runs DIR``."""
    return {
        node.value
        for file in Path(harness.__file__).parent.rglob("*.py")
        for text in [file.read_text()]
        # What makes a tree of it takes longer. Nobody breaks the option's name itself in two.
        if "--runs" in text
        for node in nodes(parse(text))
        if isinstance(node, ast.Constant)
        and "--runs DIR" in str(node.value)
        and file.name != "command_tree.py"
    }


def test_a_hint_names_the_option_that_the_command_has() -> None:
    """For each command and each hint of the package about the place of new files; without one the advice is left out."""
    said = hints()
    assert MAKE_ROOM in said
    wrong = [
        (words, found)
        for words, command in leaves(command_tree())
        for hint in said
        for found in [with_own_place(hint, [*words, "word"])]
        if not set(re.findall(r"--[a-z]+", found)) <= {name for one in command.params for name in one.opts}
        or found.strip() != found
    ]
    assert wrong == []
    assert (
        with_own_place(MAKE_ROOM, ["explore"])
        == "Free some disk space, or give another place with --into DIR."
    )
    assert with_own_place(MAKE_ROOM, ["run", "x"]) == MAKE_ROOM
    assert with_own_place(MAKE_ROOM, ["show", "x"]) == "Free some disk space."


@pytest.mark.root
def test_a_full_disk_of_an_exploration(tmp_path: Path, capsys: Caught) -> None:
    """The command says which of its own options gives another place."""
    with small_disk(tmp_path / "disk", "16k") as disk:
        (disk / "other").write_bytes(bytes(16 << 10))
        code = command_line.main(["explore", "--guest", "host", "--plans", "1", "--into", str(disk / "into")])
        said = capsys.readouterr().err
    assert (code, "--into DIR" in said, "--runs" in said) == (ExitCode.INFRASTRUCTURE, True, False), said


def test_starting_up_imports_no_heavy_library() -> None:
    """Help needs neither rich nor msgspec nor QEMU's library nor any room below the command line."""
    program = (
        "import sys; from harness.cli.main import main; main(['--help']); "
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'rich', 'msgspec', 'qemu', 'asyncio', 'libvirt', 'paramiko', 'winrm', 'pydantic'}), "
        "'harness.history' in sys.modules, 'harness.machine' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.splitlines()[-1] == "[] False False"


MOST_MODULES = {"--help": 220, "show": 280, "check": 280}
"""The most modules that a command may load, Python's own included: loading them is most of what a short command does.

Python 3.13 has seven more for help than 3.11."""


def loaded(*arguments: str) -> list[str]:
    """Execute a command line in a process of its own; return the modules that it loaded."""
    program = (
        "import sys, os; from harness.cli.main import main; main(); sys.stdout.flush();"
        "os.write(2, ('\\n' + ' '.join(sys.modules)).encode())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    return ended.stderr.splitlines()[-1].split()


HEAVY = {
    "alembic", "hypothesis", "jinja2", "libvirt", "paramiko", "prompt_toolkit", "pycdlib", "pydantic", "pytest", "requests",
    "sqlalchemy", "winrm",
}  # fmt: skip


@pytest.mark.parametrize("command", ["--help", "show", "check"])
def test_a_command_loads_what_it_needs(command: str, tmp_path: Path) -> None:
    """Help, and commands that read a run, load few modules, and no library that is for something else."""
    run = record(tmp_path / "run", hot_add().records)
    found = loaded(command, *([] if command == "--help" else [str(run)]))
    assert set() == HEAVY & {name.partition(".")[0] for name in found}
    assert len(found) <= MOST_MODULES[command]


def test_each_command_is_in_the_module_that_the_table_names() -> None:
    """The tree of one module has the command, the same as the whole tree; help has every command with its summary."""
    every = command_tree().commands
    assert {*MODULES} == {*every}
    shown = command_for(["--help"]).commands
    assert [*every] == [*shown]
    for name, module in MODULES.items():
        assert shown[name].get_short_help_str(60) == every[name].get_short_help_str(60)
        alone = command_tree(module).commands[name]
        assert [one.name for one in alone.params] == [one.name for one in every[name].params]
