# SPDX-License-Identifier: MIT
"""The driver's ring, as ``hpnctl events --json`` prints it: one JSON object a line, the fields of the record types.

Without ``--json`` the lines are those of the debug port. Both are read, in any mixture.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from harness.capture.live.debugcon import BadLine, DebugPortDecoder, is_named_well
from harness.history.driver import AnyDriverRecord, DriverRecord
from harness.history.record import Record

CHANNEL = "ring"

LONGEST_LINE = 4096
"""Bytes of the longest JSON line: a line of 512 bytes with all its keys and escapes."""

_DECODER: msgspec.json.Decoder[AnyDriverRecord] = msgspec.json.Decoder(AnyDriverRecord)


def decode_object(line: bytes) -> DriverRecord:
    """Decode one JSON line. Raises BadLine. The history sets ``n`` and ``host_ns``."""
    try:
        record = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadLine(str(error)) from error
    if not is_named_well(record):
        raise BadLine("the boot nonce or the driver name is malformed")
    if not all(-1 <= value < 1 << 64 for value in msgspec.structs.astuple(record) if isinstance(value, int)):
        raise BadLine("a number is out of range")
    return msgspec.structs.replace(record, n=0, host_ns=0, channel=CHANNEL)


class Ring(DebugPortDecoder):
    """Bytes in, driver records of channel ``ring`` out, with the same account as the debug port's."""

    SIGNS = ()

    def __init__(self) -> None:
        super().__init__(channel=CHANNEL, longest=LONGEST_LINE)

    def _take(self, line: bytes) -> Iterable[Record]:
        if not line.startswith(b"{"):
            return super()._take(line)
        try:
            record = decode_object(line)
        except BadLine:
            self.corrupt += 1
            return ()
        self._count(record)
        return (record,)
