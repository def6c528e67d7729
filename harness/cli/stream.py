# SPDX-License-Identifier: MIT
"""The standard streams of a command: a write to them never raises, and failed writes are known at the end.

A reader that exits early (``| head``) has what it wants. A full disk loses output, so the command runs to its
end, since it may also have results elsewhere, and then reports the loss.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

NAMES = {"stdin": "standard input", "stdout": "standard output", "stderr": "standard error"}


class GuardedFile(io.FileIO):
    """A descriptor to write to, which stays open. After the first failure, output is dropped.

    ``failure`` is the error, None if nothing is lost or the reader has gone: a closed pipe or socket, a
    terminal that hung up.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.failure: OSError | None = None
        self._dropping = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, and return how many bytes are done."""
        size = memoryview(data).nbytes
        if self._dropping:
            return size
        try:
            written = super().write(data)
        except OSError as error:
            self._dropping = True
            if not self._reader_gone(error):
                self.failure = error
            return size
        return size if written is None else written

    def _reader_gone(self, error: OSError) -> bool:
        if isinstance(error, ConnectionError):
            return True
        # The error of a terminal that hung up (Linux: drivers/tty/tty_io.c); for a disk it is a failure.
        return error.errno == errno.EIO and stat.S_ISCHR(os.fstat(self.fileno()).st_mode)


@contextlib.contextmanager
def guarded() -> Iterator[dict[str, GuardedFile]]:
    """Guard standard output and error within the block; yield the guarded files, by the stream's name.

    A stream that was closed at the start is /dev/null. A stream that a program (a test) has replaced is not
    changed.
    """
    files: dict[str, GuardedFile] = {}
    before = {name: getattr(sys, name) for name in NAMES}
    try:
        for name in NAMES:
            if getattr(sys, name) is None:
                setattr(sys, name, _nothing("r" if name == "stdin" else "w"))
            elif name != "stdin" and (guarded := _guarded(getattr(sys, name), getattr(sys, f"__{name}__"))):
                stream, files[NAMES[name]] = guarded
                setattr(sys, name, stream)
        yield files
    finally:
        for name, stream in before.items():
            if name != "stdin":
                with contextlib.suppress(ValueError):
                    getattr(sys, name).flush()
            # A closed one stays replaced: the interpreter flushes it at exit.
            if stream is not None:
                setattr(sys, name, stream)


def _nothing(mode: str) -> TextIO:
    """Open /dev/null under the lowest number, that of the closed stream, also for child processes."""
    stream = cast("TextIO", open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    if stream.fileno() <= 2:
        os.set_inheritable(stream.fileno(), True)
    return stream


def _guarded(stream: TextIO, original: TextIO) -> tuple[TextIO, GuardedFile] | None:
    if hasattr(stream, "reconfigure"):
        # A terminal that cannot show a character gets its escape, not an exception.
        stream.reconfigure(errors="backslashreplace")
    try:
        if stream is not original or not isinstance(stream, io.TextIOWrapper):
            return None
        with contextlib.suppress(OSError):
            # A caller's non-blocking pipe may refuse what does not fit at once, which loses output.
            os.set_blocking(stream.fileno(), True)
        file = GuardedFile(stream.fileno())
    except (OSError, ValueError):
        return None
    text = io.TextIOWrapper(
        io.BufferedWriter(file), encoding=stream.encoding, errors="backslashreplace",
        line_buffering=stream.line_buffering,
    )  # fmt: skip
    return text, file
