# SPDX-License-Identifier: MIT
"""The ``harness`` command: its options, its exit codes, and the one place where errors become messages.

Help is plain text, and commands import what they need only when they run, so that ``harness --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.main

import harness
from harness.choice import suggest
from harness.cli import (
    accept,
    check,
    completion,
    diff,
    doctor,
    driver,
    etl,
    evidence,
    gc,
    importing,
    nightly,
    observe,
    plan,
    ps,
    repro,
    rules,
    run,
    setup,
    show,
    template,
)
from harness.cli.output import complain, complain_of, flush, say
from harness.errors import ExitCode, HarnessError
from harness.invocation import program

BROKEN_PIPE = 128 + signal.SIGPIPE
"""Exit code when standard output went away in a place that could not go on without it."""

DEBUG = "HOTPLUG_HARNESS_DEBUG"
"""Environment variable that, when not empty, lets errors show their traceback."""

app = typer.Typer(
    name="harness",
    help="Hot-add vCPUs and DIMMs to guests under QEMU, and judge whether a driver was notified as Windows documents.",
    epilog="Exit codes: 0 holds, 1 violated, 3 unknown, 64 usage, 69 infrastructure, 130 interrupted.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"max_content_width": 100, "help_option_names": ["--help", "-h"]},
)


def _version(asked: bool) -> None:
    if asked:
        from pathlib import Path

        from harness.cli.revision import revision

        at = revision(Path(harness.__file__).parent)
        say(f"harness {harness.__version__}" + (f" ({at})" if at else ""))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print version and revision and exit.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


run.register(app)
show.register(app)
check.register(app)
diff.register(app)
repro.register(app)
evidence.register(app)
nightly.register(app)
accept.register(app)
rules.register(app)
doctor.register(app)
setup.register(app)
ps.register(app)
gc.register(app)
importing.register(app)
observe.register(app)
plan.register(app)
etl.register(app)
driver.register(app)
template.register(app)
completion.register(app)


FORMER = {"--plant": "--inject-fault", "--list-plants": "--list-faults", "--night": "--name"}
"""Former names of options. They are taken for one release and shown nowhere."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` if None) and return its exit code; never raises for what a user can cause."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # A caller closed it. Its number must not become that of another file.
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a character gets its escape, not an exception.
            stream.reconfigure(errors="backslashreplace")
        with contextlib.suppress(OSError, ValueError):
            # A caller's own pipe may refuse what does not fit at once, which loses output.
            os.set_blocking(stream.fileno(), True)
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        flush()
    except HarnessError as error:
        _trace()
        complain_of(error)
        code = error.exit_code
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    return int(code)


def _trace() -> None:
    """Print the traceback of the error being handled, if it was asked for. Raising it would end with 1, "violated"."""
    if os.environ.get(DEBUG):
        import traceback

        traceback.print_exc()


@functools.cache
def _command() -> Any:
    """Return the command that ``app`` describes, made once: Typer reads the signature of each subcommand for it."""
    return typer.main.get_command(app)


def _run(arguments: list[str]) -> int:
    command = _command()
    if completion.VARIABLE in os.environ:
        completion.answer(command)
    end = [*arguments, "--"].index("--")
    for place, word in enumerate(arguments[:end]):
        arguments[place] = re.sub(r"^--[a-z-]+", lambda found: FORMER.get(found[0], found[0]), word)
    try:
        # Not command.main(): it would exit with 1, which means "violated" here, when the reader of a pipe goes away.
        with command.make_context(program(), arguments) as context:
            code = command.invoke(context)
        return code if isinstance(code, int) else ExitCode.HOLDS
    except typer.Exit as leave:
        return leave.exit_code
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except HarnessError:
        raise
    except Exception as error:  # noqa: BLE001 - Python's own way out would end with 1, which means "violated"
        # Typer's usage errors are click's, which it may carry inside itself: known by what they can do.
        describe = getattr(error, "format_message", None)
        if describe is not None:
            return _misused(error, str(describe()))
        _trace()
        complain(
            f"a defect of the harness itself: {type(error).__name__}: {error}",
            f"Please report it with the traceback that {DEBUG}=1 shows.",
        )
        return ExitCode.INFRASTRUCTURE


def _misused(error: Exception, message: str) -> int:
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
        message = f"no such option: {name}. Did you mean {' or '.join(options)}?"
    elif message.startswith("No such command") and context is not None:
        message = _no_such_command(message, list(context.command.commands))
    first = message[:1].lower() + message[1:] if message[1:2].islower() else message
    complain(first, f"'{path} --help' shows what there is.")
    return ExitCode.USAGE


def _no_such_command(message: str, commands: list[str]) -> str:
    # Only newer versions of Typer guess what was meant, so the guess is made here.
    typed = message.partition("'")[2].partition("'")[0]
    return f"no such command '{typed}'. {suggest(typed, commands)}"
