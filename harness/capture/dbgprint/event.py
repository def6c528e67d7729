# SPDX-License-Identifier: MIT
"""What a target says over KD, decoded: text, prompts, images it loaded, and why it stopped.

Layout: ReactOS sdk/include/reactos/windbgkd.h (DBGKD_DEBUG_IO, DBGKD_ANY_WAIT_STATE_CHANGE).
"""

from __future__ import annotations

import struct

import msgspec

PRINT, PROMPT = 0x3230, 0x3231
EXCEPTION, LOAD_SYMBOLS, COMMAND = 0x3030, 0x3031, 0x3032
STATE_SIZE = 240
"""Bytes of DBGKD_ANY_WAIT_STATE_CHANGE on a 64-bit target; an image's path follows them."""

_IO = struct.Struct("<IHHII")
_STATE = struct.Struct("<IHHIIQQ")
_EXCEPTION = struct.Struct("<IIQQII15QI")
_SYMBOLS = struct.Struct("<IIQQIIB")


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="k"):
    """Something the target reported; ``processor`` is its own number for the reporting processor."""

    processor: int


class Printed(Event, frozen=True, kw_only=True, tag="print"):
    """DbgPrint text as it came, bytes; one call may come in pieces, and one piece may hold several lines."""

    text: bytes


class Prompted(Event, frozen=True, kw_only=True, tag="prompt"):
    """DbgPrompt, for example of a failed assertion; ``answer`` is what was sent back."""

    text: bytes
    answer: bytes


class Loaded(Event, frozen=True, kw_only=True, tag="symbols"):
    """An image was loaded or unloaded. The path is the guest's own and names nothing on this machine."""

    path: str
    base: int
    process: int
    size: int
    unloaded: bool


class Stopped(Event, frozen=True, kw_only=True, tag="exception"):
    """The target stopped: a breakpoint, an exception or a bug check. It stays frozen; the run ends here."""

    code: int
    address: int
    pc: int
    first_chance: bool
    thread: int


class Other(Event, frozen=True, kw_only=True, tag="other"):
    """Something that needs no more than an acknowledgement, or that did not decode; ``what`` says which."""

    what: str


AnyEvent = Printed | Prompted | Loaded | Stopped | Other


def debug_io(payload: bytes, answer: bytes) -> Printed | Prompted | Other:
    """Decode a DEBUG_IO packet; ``answer`` is what a prompt will be given."""
    if len(payload) < _IO.size:
        return Other(processor=0, what=f"debug text of {len(payload)} bytes is too short")
    api, _level, processor, length, _read = _IO.unpack_from(payload)
    text = payload[_IO.size : _IO.size + length]
    if api == PRINT:
        return Printed(processor=processor, text=text)
    if api == PROMPT:
        return Prompted(processor=processor, text=text, answer=answer)
    return Other(processor=processor, what=f"debug text of kind 0x{api:x}")


def state_change(payload: bytes) -> Loaded | Stopped | Other:
    """Decode a 64-bit STATE_CHANGE packet."""
    if len(payload) < 32 + _SYMBOLS.size:
        return Other(processor=0, what=f"a state change of {len(payload)} bytes is too short")
    state, _level, processor, _processors, _pad, thread, pc = _STATE.unpack_from(payload)
    if state == LOAD_SYMBOLS:
        length, _pad, base, process, _sum, size, unloaded = _SYMBOLS.unpack_from(payload, 32)
        path = payload[STATE_SIZE : STATE_SIZE + length].split(b"\0")[0].decode("latin-1")
        return Loaded(
            processor=processor, path=path, base=base, process=process, size=size, unloaded=bool(unloaded)
        )
    if state == EXCEPTION and len(payload) >= 32 + _EXCEPTION.size:
        code, _flags, _record, address, *rest = _EXCEPTION.unpack_from(payload, 32)
        return Stopped(
            processor=processor, code=code, address=address, pc=pc, first_chance=bool(rest[-1]), thread=thread
        )
    return Other(processor=processor, what=f"state change 0x{state:x}")
