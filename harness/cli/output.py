# SPDX-License-Identifier: MIT
"""Writing results to standard output and messages to standard error.

Nothing here raises because of the stream: :mod:`harness.cli.stream` guards it, and ``main`` reports what
could not be written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from harness.errors import ExitCode, HarnessError
from harness.report.escape import printable_block

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

JSON_VERSION = 1
"""The version of all JSON documents that commands print. Adding a key does not change it; any other change
increases it."""


class _Said:
    """Whether this command has printed its one JSON document."""

    document = False


def begin() -> None:
    """Start a command, which has printed nothing yet."""
    _Said.document = False


def say(lines: str | Iterable[str]) -> None:
    """Print a line, or each of some lines, on standard output."""
    for line in [lines] if isinstance(lines, str) else lines:
        sys.stdout.write(f"{line}\n")


def say_json(document: Any) -> None:
    """Print ``document``, a dictionary or a struct, as one JSON document on standard output, with its version."""
    import msgspec

    plain = {"version": JSON_VERSION, **msgspec.to_builtins(document)}
    _say_document([msgspec.json.format(_encoded(plain), indent=2).decode()])


def say_result(document: Any, lines: str | Iterable[str], *, json: bool) -> None:
    """Print a command's result: ``document`` as JSON if that was requested, otherwise ``lines`` of text."""
    if json:
        say_json(document)
    else:
        say(lines)


def say_json_list(key: str, items: Iterable[bytes], rest: dict[str, Any]) -> None:
    """Print one JSON document: the encoded ``items`` under ``key``, then ``rest``. At most one item is in memory twice."""
    import msgspec

    def lines() -> Iterator[str]:
        yield "{"
        yield f'  "version": {JSON_VERSION},'
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
        yield msgspec.json.format(_encoded(rest), indent=2).decode().removeprefix("{\n")

    _say_document(lines())


def say_schema(schema: dict[str, Any]) -> None:
    """Print a JSON Schema, whose version is that of its dialect."""
    import msgspec

    _say_document([msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()])


def say_error(message: str, hint: str, code: ExitCode) -> None:
    """Print an error as the JSON document of the command, unless it has printed its document already."""
    if not _Said.document:
        say_json({"error": {"message": message, "hint": hint}, "exit_code": code})


def progress_bar(*columns: str | ProgressColumn) -> Progress:
    """Return a bar on standard error, with rich's own ``columns`` if none are given. It vanishes at its end."""
    from rich.console import Console
    from rich.progress import Progress

    # Without redirection, or rich would send to standard error what is meant for standard output.
    return Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    )


def json_text(text: str) -> str:
    """Return JSON ``text`` as standard output can show it: in an encoding that is not UTF-8 with ``\\u`` escapes.

    Non-ASCII characters occur only in the strings of a document.
    """
    if (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8":
        return text
    return re.sub(r"[^\x00-\x7f]", _escaped, text)


def flush() -> None:
    """Flush all output so far."""
    sys.stdout.flush()


def complain(message: str, hint: str = "") -> None:
    """Print ``harness: message`` and the indented hint on standard error, escaped for a terminal."""
    # So that a message is in the right place when both streams go to one file.
    sys.stdout.flush()
    sys.stderr.write("".join(f"{line}\n" for line in complaint(message, hint)))
    sys.stderr.flush()


def complaint(message: str, hint: str = "") -> list[str]:
    """Return the lines that :func:`complain` prints."""
    first, *rest = printable_block(message) or [""]
    return [f"harness: {first}", *(f"  {line}" for line in [*rest, *printable_block(hint)])]


def complain_of(error: HarnessError) -> None:
    """Print an error of the harness's own tree with its hint."""
    complain(error.message, error.hint)


def _say_document(lines: Iterable[str]) -> None:
    _Said.document = True
    say(json_text(line) for line in lines)


def _encoded(document: Any) -> bytes:
    import msgspec

    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        # A path need not be UTF-8 text, but a document must.
        return msgspec.json.encode(_utf8(document))


def _utf8(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_utf8(key): _utf8(one) for key, one in value.items()}
    return [_utf8(one) for one in value] if isinstance(value, list | tuple) else value


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
