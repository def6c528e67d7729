# SPDX-License-Identifier: MIT
"""A log as a file: opening it, its buffers, the session's description in its first record, and a buffer's bytes.

Every buffer names where the next one begins. After a damaged header the next buffer must be found. Buffers that are not
compressed have one size, which the session's description names. Compressed ones are searched for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from harness.capture.etl import buffer, compression, session
from harness.capture.etl.account import LogAccount
from harness.capture.etl.buffer import BufferHeader
from harness.capture.etl.compression import CompressionError
from harness.capture.etl.session import TraceSession
from harness.errors import UsageError, system_errors

Expand = Callable[[bytes, int], bytes]
"""A function that expands a compressed buffer to the given number of bytes; raises CompressionError."""

_FLUSHED = (3).to_bytes(4, "little")
_STATE_AT = 44
"""The state of a buffer in a file (EtwBufferStateFlush), and its place in the header."""


class LogFile:
    """An open .etl file. A context manager; ``session`` is the file's own description, once read."""

    def __init__(self, path: Path, expand: Expand = compression.expand) -> None:
        """Open ``path``. Raises UsageError when it is not a regular file, or is empty."""
        self.path = path
        self._expand = expand
        self.account = LogAccount()
        self.session = TraceSession()
        try:
            # Not blocking: a FIFO of that name would make the open itself wait for a writer.
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except PermissionError as error:
            raise UsageError(
                f"{path}: {error.strerror}", hint="Ask its owner to make the file readable for you."
            ) from error
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", hint="Name an .etl file.") from error
        try:
            status = os.fstat(self._file)
            if stat.S_ISDIR(status.st_mode):
                raise UsageError(f"{path}: this is a directory", hint="Name an .etl file in it.")
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{path}: not a regular file", hint="Name an .etl file.")
            if not status.st_size:
                raise UsageError(
                    f"{path}: the file is empty",
                    hint="Stop the session before copying its log (logman stop NAME -ets).",
                )
        except BaseException:
            self.close()
            raise
        self.account.bytes = status.st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Records already returned stay valid."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes. Raises InfrastructureError when reading fails."""
        with system_errors(f"{self.path}: reading at byte {offset}"):
            return os.pread(self._file, size, offset)

    def buffers(self) -> Iterator[BufferHeader]:
        """Yield the buffer headers in file order, without damaged ones."""
        size = self.account.bytes
        offset = 0
        step = 0
        packed = False
        while offset < size:
            raw = self.read(offset, buffer.HEADER_SIZE)
            header = buffer.decode_header(raw, offset)
            if isinstance(header, str):
                if not step:
                    raise self.no_log(header)
                if any(raw):
                    self.account.damage(offset, header)
                # A preallocated file ends in a buffer of zeros. In both cases all buffers of a session
                # have one size, so the next one is known; only compressed ones must be searched for.
                offset = self._search(offset + 1) if packed else offset + step
                continue
            yield header
            packed = header.compressed or (packed and header.type == buffer.HEADER_BUFFER)
            # The header buffer of a merged log is shorter than the others.
            if header.type != buffer.HEADER_BUFFER or not step:
                described = self.session.buffer_size
                step = described if buffer.SMALLEST <= described <= buffer.LARGEST else header.size
                packed = packed or bool(self.session.mode & session.COMPRESSED_MODE)
            offset += header.size

    def no_log(self, why: str) -> UsageError:
        """Return the error for a file of another kind."""
        return UsageError(
            f"{self.path}: not an event trace log: {why}",
            hint="An .etl file begins with a buffer header; was the file copied in text mode, or is it zipped?",
        )

    def _search(self, offset: int) -> int:
        """Return the next offset of a compressed buffer that another one or the end follows."""
        size = self.account.bytes
        window, overlap = 1 << 20, buffer.HEADER_SIZE
        while offset + overlap < size:
            data = self.read(offset, window + overlap)
            at = data.find(_FLUSHED, _STATE_AT)
            while 0 <= at < window + _STATE_AT:
                header = buffer.decode_header(data[at - _STATE_AT :][:overlap], offset + at - _STATE_AT)
                if isinstance(header, BufferHeader) and header.compressed:
                    after = header.offset + header.size
                    if after == size or isinstance(
                        buffer.decode_header(self.read(after, overlap), after), BufferHeader
                    ):
                        return header.offset
                at = data.find(_FLUSHED, at + 1)
            offset += window
        return size

    def content(self, offset: int, used: int, packed: int) -> tuple[bytes, str]:
        """Return a buffer's first ``used`` bytes, expanded from ``packed`` bytes if that is not 0, and why any are missing."""
        if not packed:
            return self.read(offset, used), ""
        raw = self.read(offset, packed)
        head = raw[: buffer.HEADER_SIZE]
        try:
            return head + self._expand(raw[buffer.HEADER_SIZE :], used - buffer.HEADER_SIZE), ""
        except CompressionError as error:
            return head + error.expanded, str(error)

    def refuse_foreign(self, header: BufferHeader) -> None:
        """Raise UsageError if the first compressed buffer of the log is in a format other than plain XPRESS."""
        raw = self.read(header.offset, header.size)
        name = compression.foreign(raw[buffer.HEADER_SIZE :])
        if name and self.content(header.offset, header.used, header.size)[1]:
            raise UsageError(
                f"{self.path}: the buffer at byte {header.offset} is compressed with {name}; only plain XPRESS is read",
                hint="Record without compression: no -compress with wpr, no 'Compress' in the profile.",
            )

    def describe(self, header: BufferHeader) -> None:
        """Take the session's description from the first buffer, or note that there is none."""
        found = None
        if header.type not in buffer.OPAQUE and not header.compressed:
            data = self.read(0, header.used)
            records, _at, _damage = buffer.decode(data, 0, buffer.HEADER_SIZE, len(data), 1)
            if records and session.is_header(records[0]):
                found = session.decode(records[0])
        if found is None:
            self.account.headless = True
            return
        self.session = found
        self.account.events_lost = found.events_lost
        self.account.buffers_lost = found.buffers_lost
        self.account.unclosed = found.end == 0
