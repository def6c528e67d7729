# SPDX-License-Identifier: MIT
"""The target's data packets and the answers to them: payloads to messages and back.

Layouts are those of a 64-bit target, little-endian (ReactOS: sdk/include/reactos/windbgkd.h). Texts of the guest are
kept byte for byte: each character of a ``str`` here is one byte (Latin-1).
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from harness.capture.dbgprint import protocol

PRINT, PROMPT = 0x3230, 0x3231
EXCEPTION, LOAD_SYMBOLS, COMMAND = 0x3030, 0x3031, 0x3032
ALTERNATE = 0x10000
"""Added to a state change that comes from another source than the current processor."""

CONTINUE = 0x3136
DBG_CONTINUE = 0x00010002
STATUS_NO_SUCH_FILE = 0xC000000F

ANSWER = "i"
"""The answer to every prompt. A failed assertion asks "Break, Ignore, Terminate…? (bipt)", and asks again if it gets no
answer. Without a debugger it is ignored too. Its text is recorded."""

_DEBUG_IO = struct.Struct("<IHHII")
_STATE = struct.Struct("<IHHI4xQQ")
_EXCEPTION = struct.Struct("<IIQQI4x")
_FIRST_CHANCE = 184
_SYMBOLS = struct.Struct("<I4xQQIIB")
_STATE_SIZE = 240
_CONTINUE = struct.Struct("<IHHI4xI36x")
_FILE_IO = struct.Struct("<II56x")


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="k", omit_defaults=True):
    """A message of the target, in a packet that was accepted."""


class Print(Message, frozen=True, kw_only=True, tag="print"):
    """One DbgPrint of ``processor``; at most 512 bytes of text on Windows (DDI: wdm/nf-wdm-dbgprintex.md)."""

    processor: int
    text: str


class Prompt(Message, frozen=True, kw_only=True, tag="prompt"):
    """The target asks and waits, as a failed assertion does; ``answer`` is the reply it got."""

    processor: int
    text: str
    answer: str = ""


class Symbols(Message, frozen=True, kw_only=True, tag="symbols"):
    """An image was loaded or unloaded. The first packet of a boot; the target waits until it may continue."""

    processor: int
    path: str
    base: int
    size: int
    unload: bool = False


class Stop(Message, frozen=True, kw_only=True, tag="stop"):
    """An exception stopped every processor, and the guest stays stopped. ``code`` is the NTSTATUS of the exception.

    ``bug_check`` is the code and parameters that the target printed just before, "" if it printed none.
    """

    processor: int
    processors: int
    code: int
    address: int
    first_chance: bool
    bug_check: str = ""


class FileRequest(Message, frozen=True, kw_only=True, tag="file"):
    """The target requests a file from the debugger; the answer is that there is none."""

    api: int


class Aside(Message, frozen=True, kw_only=True, tag="aside"):
    """A message that needs only an acknowledgement."""

    what: Literal["trace", "control request", "command", "unasked reply", "not understood"]
    api: int = 0


AnyMessage = Print | Prompt | Symbols | Stop | FileRequest | Aside


class BadPayload(ValueError):
    """The payload does not match the packet's type: the header was damaged, or the target uses another format."""


def decode(packet: protocol.Packet) -> AnyMessage:
    """Return the message in a data packet. Raises BadPayload."""
    payload = packet.payload
    (api,) = struct.unpack_from("<I", payload)
    match packet.kind:
        case protocol.DEBUG_IO:
            return _debug_io(payload)
        case protocol.STATE_CHANGE:
            return _state(payload)
        case protocol.FILE_IO if 0x3430 <= api <= 0x3433:
            return FileRequest(api=api)
        case protocol.TRACE_IO if api == 0x3330:
            return Aside(what="trace", api=api)
        case protocol.CONTROL_REQUEST if api in (0x4300, 0x4301):
            return Aside(what="control request", api=api)
        case protocol.MANIPULATE if 0x3130 <= api <= 0x3160:
            return Aside(what="unasked reply", api=api)
    raise BadPayload(f"packet type {packet.kind} with code {api:#x}")


def _debug_io(payload: bytes) -> AnyMessage:
    if len(payload) < _DEBUG_IO.size:
        raise BadPayload("debug output is cut")
    api, _level, processor, length, room = _DEBUG_IO.unpack_from(payload)
    if length > len(payload) - _DEBUG_IO.size:
        raise BadPayload("debug output is longer than its packet")
    text = payload[_DEBUG_IO.size : _DEBUG_IO.size + length].decode("latin-1")
    if api == PRINT:
        return Print(processor=processor, text=text)
    if api == PROMPT:
        return Prompt(processor=processor, text=text, answer=ANSWER[:room])
    raise BadPayload(f"debug output of kind {api:#x}")


def _state(payload: bytes) -> AnyMessage:
    if len(payload) < _STATE_SIZE:
        raise BadPayload("state change is cut")
    state, _level, processor, processors, _thread, _counter = _STATE.unpack_from(payload)
    kind = state & ~ALTERNATE
    if kind == EXCEPTION:
        code, _flags, _record, address, _count = _EXCEPTION.unpack_from(payload, _STATE.size)
        (first,) = struct.unpack_from("<I", payload, _FIRST_CHANCE)
        return Stop(
            processor=processor, processors=processors, code=code, address=address, first_chance=bool(first)
        )
    if kind == LOAD_SYMBOLS:
        length, base, _process, _sum, size, unload = _SYMBOLS.unpack_from(payload, _STATE.size)
        path = payload[_STATE_SIZE : _STATE_SIZE + length].split(b"\0")[0].decode("latin-1")
        return Symbols(processor=processor, path=path, base=base, size=size, unload=bool(unload))
    if kind == COMMAND:
        return Aside(what="command", api=state)
    raise BadPayload(f"state change {state:#x}")


def reply(message: AnyMessage) -> tuple[int, bytes] | None:
    """Return type and payload of the packet that answers ``message``, or None if it needs no answer.

    An exception gets none: the target would continue with the instruction that stopped it.
    """
    match message:
        case Symbols(processor=processor):
            return protocol.MANIPULATE, _continue(processor)
        case Aside(what="command"):
            return protocol.MANIPULATE, _continue(0)
        case Prompt(processor=processor, answer=answer):
            text = answer.encode("latin-1")
            head = _DEBUG_IO.pack(PROMPT, 0, _processor(processor), 0, len(text))
            return protocol.DEBUG_IO, head + text
        case FileRequest(api=api):
            return protocol.FILE_IO, _FILE_IO.pack(api, STATUS_NO_SUCH_FILE)
    return None


def _continue(processor: int) -> bytes:
    return _CONTINUE.pack(CONTINUE, 0, _processor(processor), 0, DBG_CONTINUE)


def _processor(number: int) -> int:
    """Return a number that puts no break-in byte into the answer, neither itself nor in the sum of all bytes.

    The target knows where it stopped and reads only the status and the text.
    """
    return number if number < protocol.BREAK_IN else 0
