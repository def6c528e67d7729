# SPDX-License-Identifier: MIT
"""The sources of a session's lines: a prompt on a terminal, or a script on standard input.

The prompt is prompt_toolkit's (extra ``repro``). Records that arrive while the user types are printed above it. A
script needs no package.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from harness.errors import InfrastructureError, MissingPart
from harness.history.private import keep_private
from harness.interrupts import answered, uninterrupted
from harness.package import missing_extra
from harness.repro.session import Session

LOOK = 0.1
"""Seconds between two looks for new records while the user types."""

LARGEST_HISTORY = 1 << 18
"""The limit in bytes of the kept lines. Beyond it, the older half is removed."""

LONGEST_LINE = 1 << 16

MOST_OPEN = 64
"""The most completions that are shown."""


class SessionLines(Protocol):
    """Provides a session's lines. ``scripted``: no user can correct a refused line, so it ends the session."""

    scripted: bool

    def next(self, session: Session, show: Callable[[list[str]], None]) -> str | None:
        """Return the next line, None for the end. ``show`` is called with lines for records that arrive meanwhile."""


class ScriptLines:
    """The lines of a script. ``echo`` prints each line except comments before it is executed, so that the output can
    be followed."""

    scripted = True

    def __init__(self, stream: IO[str], echo: Callable[[str], None]) -> None:
        self._stream = stream
        self._echo = echo
        self.number = 0

    def next(self, session: Session, show: Callable[[list[str]], None]) -> str | None:
        """Return the next line of the script. Raises InfrastructureError if it cannot be read."""
        show(session.lines())
        try:
            line = self._stream.readline(LONGEST_LINE)
        except (OSError, ValueError) as error:
            raise InfrastructureError(f"cannot read the session's script: {error}") from error
        if not line:
            return None
        self.number += 1
        line = line.strip()
        if line and not line.startswith("#"):
            self._echo(f"> {line}")
        return line


class PromptLines:
    """A prompt with completion, and a history of lines that is kept in ``history``. Raises MissingPart without the
    extra."""

    scripted = False

    def __init__(self, history: Path) -> None:
        try:
            import prompt_toolkit.history
        except ImportError as error:
            raise no_prompt() from error
        kept: prompt_toolkit.history.History = prompt_toolkit.history.InMemoryHistory()
        # A history that cannot be kept does not prevent the session.
        with contextlib.suppress(OSError):
            _trim(history)
            kept = prompt_toolkit.history.FileHistory(str(history))
        self._history = kept
        self._asked: asyncio.Task[Any] | None = None
        self._left = False

    def next(self, session: Session, show: Callable[[list[str]], None]) -> str | None:
        """Ask for a line. Ctrl-C and Ctrl-D end the session. Other signals are raised."""
        self._asked, self._left = None, False
        try:
            with uninterrupted(self._leave):
                return asyncio.run(self._ask(session, show))
        except (EOFError, asyncio.CancelledError):
            return None
        except KeyboardInterrupt as error:
            if not answered(error):
                raise
            return None

    def _leave(self) -> None:
        """End the question that is asked. An exception of a signal would be that of any task of the prompt, which prints it."""
        self._left = True
        if self._asked is not None:
            # The loop is closed when the question has its answer.
            with contextlib.suppress(RuntimeError):
                self._asked.get_loop().call_soon_threadsafe(self._asked.cancel)

    async def _ask(self, session: Session, show: Callable[[list[str]], None]) -> str:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.patch_stdout import patch_stdout

        self._asked = asyncio.current_task()
        if self._left:
            raise asyncio.CancelledError
        prompt: PromptSession[str] = PromptSession(
            history=self._history,
            completer=_completer(session),
            complete_while_typing=False,
            bottom_toolbar=lambda: _status(session),
        )
        with patch_stdout(raw=True):
            watch = asyncio.create_task(_watch(session, show))
            try:
                return await prompt.prompt_async("(repro) ", handle_sigint=False)
            finally:
                watch.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watch


def no_prompt() -> MissingPart:
    """Return the error for a missing prompt package."""
    return missing_extra(
        "the prompt needs prompt_toolkit, which is not installed",
        "repro",
        "A script needs none: give the session's lines on standard input.",
    )


def lines_for(history: Path, echo: Callable[[str], None]) -> SessionLines:
    """Return a prompt if standard input and output are terminals, else the script on standard input."""
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        return PromptLines(history)
    return ScriptLines(sys.stdin or io.StringIO(), echo)


async def _watch(session: Session, show: Callable[[list[str]], None]) -> None:
    while True:
        if lines := session.lines():
            show(lines)
        await asyncio.sleep(LOOK)


def _status(session: Session) -> str:
    from prompt_toolkit.application import get_app

    return status_line(
        f"{session.place} of {len(session.plan.do)} operations",
        sorted(session.known_violated),
        "guest alive" if session.live.machine.alive() else "the guest has ended",
        width=get_app().output.get_size().columns,
    )


def status_line(place: str, violated: Sequence[str], guest: str, *, width: int) -> str:
    """Return the toolbar in less than ``width`` columns. The violated rules are shortened first, the guest's state never.

    As many rules as fit are named, the others counted.
    """
    most = len(violated)
    named = [
        ", ".join([*violated[:count], *([f"{most - count} more"] if count < most else [])])
        for count in range(most, 0, -1)
    ]
    counted = f"{most} violated" if violated else "nothing violated"
    shortened = [
        *([place, rules, guest, "help, quit"] for rules in named or [counted]),
        *([place, rules, guest] for rules in [*named, counted]),
        [counted, guest],
        [guest],
    ]
    lines = [f" {' | '.join(parts)}" for parts in shortened]
    return next((line for line in lines if len(line) < width), lines[-1])


def _completer(session: Session) -> Any:
    from prompt_toolkit.completion import Completer, Completion
    from prompt_toolkit.document import Document

    class SessionCompleter(Completer):
        def get_completions(self, document: Document, _event: object) -> Iterator[Completion]:
            before = document.text_before_cursor
            last = before.rpartition(" ")[2]
            for word in session.completions(before)[:MOST_OPEN]:
                yield Completion(word, start_position=-len(last))

    return SessionCompleter()


def _trim(file: Path) -> None:
    """Keep the file of typed lines private, and remove its older half when it is large. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    keep_private(file)
    data = file.read_bytes()
    if len(data) > LARGEST_HISTORY:
        # An entry begins with a comment that has its time.
        file.write_bytes(b"\n#" + data[-LARGEST_HISTORY // 2 :].partition(b"\n#")[2])
