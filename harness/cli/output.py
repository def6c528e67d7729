# SPDX-License-Identifier: MIT
"""Writing results to standard output and messages to standard error, when the reader may go away at any time."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from harness.errors import HarnessError, InfrastructureError
from harness.report.escape import printable_block


def say(lines: str | Iterable[str]) -> None:
    """Print a line, or each of some lines, on standard output.

    When the reader has gone (``harness check … | head``) the rest is dropped in silence, so that the command goes on
    and ends with its own exit code. Raises InfrastructureError when the output cannot be written (disk full).
    """
    try:
        for line in [lines] if isinstance(lines, str) else lines:
            sys.stdout.write(f"{line}\n")
    except BrokenPipeError:
        _forget_reader()
    except OSError as error:
        _forget_reader()
        raise InfrastructureError(f"cannot write to standard output: {error.strerror}") from error


def say_json(document: Any) -> None:
    """Print ``document`` as one JSON document on standard output; errors as in :func:`say`."""
    import msgspec

    say(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def say_json_list(key: str, items: Iterable[bytes], rest: dict[str, Any]) -> None:
    """Print one JSON document: the encoded ``items`` under ``key``, then what is in ``rest``. Only one item is held twice."""
    import msgspec

    def lines() -> Iterator[str]:
        yield "{"
        yield f'  "{key}": ['
        last = ""
        for item in items:
            if last:
                yield f"{last},"
            # A line feed in formatted JSON is never part of a string, so lines can be moved.
            last = "    " + msgspec.json.format(item, indent=2).decode().replace("\n", "\n    ")
        if last:
            yield last
        yield "  ],"
        yield msgspec.json.format(msgspec.json.encode(rest), indent=2).decode().removeprefix("{\n")

    say(lines())


def flush() -> None:
    """Hand everything said so far to the reader; errors as in :func:`say`."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_reader()
    except OSError as error:
        _forget_reader()
        raise InfrastructureError(f"cannot write to standard output: {error.strerror}") from error


def complain(message: str, hint: str = "") -> None:
    """Print ``harness: message`` and the indented hint on standard error, escaped for a terminal."""
    first, *rest = printable_block(message) or [""]
    lines = [f"harness: {first}", *(f"  {line}" for line in [*rest, *printable_block(hint)])]
    with contextlib.suppress(OSError):
        # So that a message stands where it belongs when both streams go to one place; flush() reports a failure.
        sys.stdout.flush()
    try:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
    except OSError:
        return


def complain_of(error: HarnessError) -> None:
    """Print an error of the harness's own tree with its way out."""
    complain(error.message, error.hint)


def _forget_reader() -> None:
    """Point standard output at nothing, as the Python manual advises for SIGPIPE, or the exit flush fails again."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, sys.stdout.fileno())
    except (OSError, ValueError):
        return
    finally:
        os.close(nothing)
