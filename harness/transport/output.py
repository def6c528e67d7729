# SPDX-License-Identifier: MIT
"""A command's output: a bounded number of bytes, decoded, with a remark on everything that was lost on the way."""

from __future__ import annotations

import re

from harness.transport import clixml

_ESCAPED = re.compile("[\udc80-\udcff]")
"""The bytes that are not UTF-8, as the error handler ``surrogateescape`` decodes them."""


class Output:
    """A collector of one stream. Bytes past ``limit`` are counted and dropped, so that the command can continue and end."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.size = 0
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self.size += len(data)
        room = self.limit - len(self._kept)
        self._kept += data[:room] if len(data) > room else data

    @property
    def content(self) -> bytes:
        """The bytes kept."""
        return bytes(self._kept)

    @property
    def cut(self) -> bool:
        """Whether bytes were dropped."""
        return self.size > len(self._kept)

    def text(self) -> tuple[str, list[str]]:
        """Return the decoded text, with CLIXML turned into plain lines, and the remarks.

        Every byte that is not part of UTF-8 becomes U+FFFD and is counted in a remark.
        """
        remarks = []
        if self.cut:
            remarks.append(f"{self.name}: {self.size} bytes, cut after {len(self._kept)}")
        kept = bytes(self._kept)
        if self.cut:
            kept = _whole_characters(kept)
        kept = kept.removeprefix(b"\xef\xbb\xbf")
        try:
            decoded = kept.decode("utf-8")
        except UnicodeDecodeError as error:
            decoded, bad = _ESCAPED.subn("\ufffd", kept.decode("utf-8", "surrogateescape"))
            remarks.append(
                f"{self.name}: {bad} bytes are not UTF-8, the first at {error.start}; shown as U+FFFD"
            )
        text, more = clixml.to_text(decoded) if self.name == "stderr" else (decoded, [])
        return text, [*remarks, *more]


def _whole_characters(data: bytes) -> bytes:
    """Drop an incomplete UTF-8 character at the end."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return data[:-back] if length > back else data
    return data
