# SPDX-License-Identifier: MIT
"""The ``harness`` command: its options, its exit codes, and the one place where errors become messages.

Help is plain text, and commands import what they need only when they run, so that ``harness --help`` is fast.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence

import typer

from harness.choice import closest, suggest
from harness.cli import completion
from harness.cli.command_tree import command_for, with_own_place
from harness.cli.output import begin, complain, flush, say, say_error
from harness.cli.stream import guarded
from harness.errors import ExitCode, HarnessError, of_shortage
from harness.interrupts import interrupted_by, interruptible, interruption_behind, settle
from harness.invocation import program

DEBUG = "HOTPLUG_HARNESS_DEBUG"
"""Environment variable that, when not empty, lets errors show their traceback."""

FORMER = {"--plant": "--inject-fault", "--list-plants": "--list-faults", "--night": "--name"}
"""Former names of options. They work for one release and are not documented."""


def main(arguments: Sequence[str] | None = None, *, last: bool = False) -> int:
    """Run the command line (``sys.argv`` if None) and return its exit code; never raises for anything that a user can cause.

    A signal decides the code whatever the command's result, even if the command handled the signal. With ``last`` the process
    ends afterwards, and signals have no effect any more.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with guarded() as files, interruptible(last=last) as signals:
        begin()
        try:
            code = _run(words)
            flush()
            settle()
        except KeyboardInterrupt as error:
            settle()
            code = _interrupted(words, getattr(error, "number", signal.SIGINT))
            flush()
        for name, file in files.items():
            if file.failure is not None:
                code = code if code == ExitCode.USAGE or signals else ExitCode.INFRASTRUCTURE
                complain(f"cannot write to {name}: {file.failure.strerror}")
        return int(128 + signals[0] if signals else code)


def _interrupted(words: list[str], number: int) -> int:
    return _failed(words, interrupted_by(number), "", ExitCode(128 + number))


def _failed(words: list[str], message: str, hint: str, code: ExitCode) -> int:
    """Print an error: as text on standard error, and with ``--json`` also as JSON on standard output."""
    hint = with_own_place(hint, words)
    if "--json" in _options_of(words):
        say_error(message, hint, code)
    complain(message, hint)
    return code


def _options_of(words: list[str]) -> list[str]:
    return words[: [*words, "--"].index("--")]


def _trace() -> None:
    """Print the traceback of the current error, if requested. Raising it would exit with 1, "violated"."""
    if os.environ.get(DEBUG):
        traceback.print_exc()


def _run(words: list[str]) -> int:
    if completion.VARIABLE in os.environ:
        completion.answer(command_for(completion.completed_words()))
    command = command_for(words)
    arguments = [*words]
    for place, word in enumerate(_options_of(words)):
        arguments[place] = re.sub(r"^--[a-z-]+", lambda found: FORMER.get(found[0], found[0]), word)
    try:
        # Not command.main(): when the reader of a pipe exits, it would exit with 1, which means "violated"
        # here.
        with command.make_context(program(), arguments) as context:
            code = command.invoke(context)
        return code if isinstance(code, int) else ExitCode.HOLDS
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        # A prompt was answered with Ctrl-C or with the end of its input.
        return _interrupted(words, signal.SIGINT)
    except HarnessError as error:
        _trace()
        return _failed(words, error.message, error.hint, error.exit_code)
    except OSError as error:
        _trace()
        short = of_shortage(error)
        said = _of_the_system(error) if short is None else (short.message, short.hint)
        return _failed(words, *said, ExitCode.INFRASTRUCTURE)
    except Exception as error:  # noqa: BLE001 - an uncaught exception would exit with 1, which means "violated"
        if (stop := interruption_behind(error)) is not None:
            raise stop from None
        # Typer's usage errors are click's, possibly from its own copy of click: recognized by their methods.
        describe = getattr(error, "format_message", None)
        if describe is not None:
            return _misused(words, error, str(describe()))
        _trace()
        if (short := of_shortage(error)) is not None:
            return _failed(words, short.message, short.hint, short.exit_code)
        return _failed(
            words,
            f"a defect of the harness itself: {type(error).__name__}: {error}",
            f"Please report it with the traceback that {DEBUG}=1 shows.",
            ExitCode.INFRASTRUCTURE,
        )


def _of_the_system(error: OSError) -> tuple[str, str]:
    """Return the message and the hint for an unexpected error of the operating system."""
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    what = f"cannot use {' and '.join(names)}" if names else "the system refused what was asked"
    return f"{what}: {error.strerror or error}", f"{DEBUG}=1 shows what the command was doing."


_WORDS = tuple(
    (re.compile(theirs), ours)
    for theirs, ours in (
        ("is not a valid float", "is not a number"),
        ("is not a valid integer", "is not a whole number"),
        (r"Input should be a valid integer.*", "expected a whole number"),
        (r"Input should be a valid number.*", "expected a number"),
        (
            r"Input should be (greater|less) than or equal to (\S+)",
            r"expected a number \1 than or equal to \2",
        ),
    )
)
"""Messages of click and of pydantic, which Typer uses, and the harness's words for them."""


def _misused(words: list[str], error: Exception, message: str) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else program()
    if context is not None and message == context.get_help():
        say(message)
        return ExitCode.USAGE
    options = getattr(error, "possibilities", None)
    name = getattr(error, "option_name", "")
    if context is not None and (why := getattr(context.command.callback, "absent", {}).get(name)):
        message = f"{context.info_name} has no {name}: {why}"
    elif options:
        # Typer compares names with their dashes, which all options share.
        alike = closest(name.lstrip("-"), [option.lstrip("-") for option in options], len(options))
        near = [option for option in options if option.lstrip("-") in alike]
        message = f"no such option: {name}" + (f". Did you mean {' or '.join(near)}?" if near else "")
    elif message.startswith("No such command") and context is not None:
        message = _no_such_command(message, list(context.command.commands))
    for theirs, ours in _WORDS:
        message = theirs.sub(ours, message)
    first = message[:1].lower() + message[1:] if message[1:2].islower() else message
    return _failed(words, first, f"'{path} --help' shows what there is.", ExitCode.USAGE)


def _no_such_command(message: str, commands: list[str]) -> str:
    # Only newer versions of Typer suggest a name, so the suggestion is made here.
    typed = message.partition("'")[2].partition("'")[0]
    return f"no such command '{typed}'. {suggest(typed, commands)}"
