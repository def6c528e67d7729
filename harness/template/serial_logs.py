# SPDX-License-Identifier: MIT
"""Logs that a guest sends on COM1 after a step has failed: pieces of gzip in base64, put together again.

The guest is not trusted. Only names of the harness's own table are accepted. Pieces must come complete and in order. Their
number is bounded by the grammar (:mod:`harness.template.serial_markers`), their decompressed size by the table's limit.
"""

from __future__ import annotations

import base64
import binascii
import zlib

from harness.template.serial_markers import LogMarker, LogsMarker, SerialMarker, UnreadMarker

SENT = {
    "provisioning": 1 << 20,
    "setupact": 1 << 20,
    "setuperr": 1 << 20,
    "cbs": 1 << 20,
    "sshd": 1 << 20,
    "openssh-events": 4 << 20,
    "winrm-events": 4 << 20,
}
"""The logs that a guest may send, and the most bytes of each. ``Provision.psm1`` sends the same."""

GZIP = 31
"""``wbits`` of zlib for a gzip header and trailer, whose checksum is then verified."""


class SerialLogs:
    """The received logs: ``contents`` has the complete ones, ``refused`` says why others are missing. ``over`` after the last."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.refused: dict[str, str] = {}
        self.over = False
        self._pieces: dict[str, list[str]] = {}

    def take(self, marker: SerialMarker) -> None:
        """Take a marker; markers of other kinds are ignored."""
        match marker:
            case LogsMarker():
                self.over = True
                for name in self._pieces:
                    self.refused[name] = "it arrived only in part"
                self._pieces.clear()
            case UnreadMarker(name=name, message=message) if name in SENT and name not in self.contents:
                self.refused[name] = message
            case LogMarker(name=name) if name in SENT and name not in self.contents:
                self._piece(marker)

    def _piece(self, marker: LogMarker) -> None:
        pieces = self._pieces.pop(marker.name, []) if marker.number > 1 else []
        if marker.number != len(pieces) + 1:
            # A piece was lost or overwritten: the rest is useless.
            self.refused.setdefault(marker.name, f"piece {len(pieces) + 1} of {marker.count} did not come")
            return
        self._pieces[marker.name] = pieces
        pieces.append(marker.data)
        if marker.number == marker.count:
            del self._pieces[marker.name]
            self._whole(marker.name, "".join(pieces))

    def _whole(self, name: str, text: str) -> None:
        limit = SENT[name]
        try:
            expander = zlib.decompressobj(GZIP)
            content = expander.decompress(base64.b64decode(text, validate=True), limit + 1)
        except (binascii.Error, zlib.error) as error:
            self.refused[name] = f"it came damaged: {error}"
            return
        if len(content) > limit:
            self.refused[name] = f"more than {limit} bytes came"
        elif not expander.eof:
            self.refused[name] = "it came damaged: it has no end"
        else:
            self.contents[name] = content
            self.refused.pop(name, None)
