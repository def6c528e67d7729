# SPDX-License-Identifier: MIT
"""WPP messages and the trace message format files that say what they mean."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.capture.etl import tmf, wpp
from harness.capture.etl.decoder import Decoded, Decoder
from harness.capture.etl.record import MessageRecord
from harness.capture.etl.tmf import FormatFiles
from harness.capture.etl.tracelog import TraceLog
from harness.errors import BadDocument, UsageError
from tests.capture.etl import encoder

T = encoder.START
GUID = uuid.UUID("4305d668-552d-302b-a84c-fbcf09373bf6")

SID = b"\1\1" + bytes(5) + b"\5" + struct.pack("<I", 18)


def section(*messages: str) -> str:
    """A format file's text."""
    return f"{GUID} labdriver // SRC=lab.cpp MJ= MN=\n" + "".join(messages)


def message(number: int, text: str, *arguments: str, note: str = "") -> str:
    """One message of a format file; arguments are types, in their order."""
    body = "".join(f"value{place}, {kind} -- {10 + place}\n" for place, kind in enumerate(arguments))
    return f'#typev lab_cpp{number} {number} "{text}" // {note}\n{{\n{body}}}\n'


def decoded(
    tmp_path: Path, text: str, number: int, payload: bytes, *, guid: uuid.UUID = GUID
) -> tuple[Decoded, Decoder]:
    """Decode one message by this format file."""
    (tmp_path / f"{GUID}.tmf").write_text(text)
    log_path = tmp_path / "wpp.etl"
    log_path.write_bytes(
        encoder.header_buffer() + encoder.buffer(encoder.message(T + 1, number, payload, guid=guid))
    )
    decoder = Decoder(formats=FormatFiles([tmp_path]))
    with TraceLog(log_path) as log:
        decoder.learn(log)
        (found,) = [decoder.decode(one) for one in log if isinstance(one, MessageRecord)]
    return found, decoder


def test_a_message_is_put_together_from_its_format_file(tmp_path: Path) -> None:
    """Arguments by their numbers, printf specifications, the function, and the prefix left out."""
    text = section(
        message(1, "%0other"),
        message(
            7, "%0%!FUNC! slot %10!d!: status %11!08x! of %12!s!%n", "ItemLong", "ItemULong", "ItemString",
            note="  LEVEL=ERROR FLAGS=HOTPLUG FUNC=AddDevice",
        ),
    )  # fmt: skip
    found, _decoder = decoded(tmp_path, text, 7, struct.pack("<iI", -3, 0xC000009A) + b"dimm-1\0")
    assert (found.how, found.provider, found.event) == ("wpp", "labdriver", "lab_cpp7")
    assert found.values == {"value0": -3, "value1": 0xC000009A, "value2": "dimm-1"}
    assert found.message == "AddDevice slot -3: status c000009a of dimm-1\n"


@pytest.mark.parametrize(
    ("kind", "form", "payload", "shown"),
    [
        ("ItemChar", "c", b"A", "A"),
        ("ItemUChar", "u", b"\xff", "255"),
        ("ItemShort", "d", struct.pack("<h", -2), "-2"),
        ("ItemLong", "x", struct.pack("<i", -1), "ffffffff"),
        ("ItemLong", "#X", struct.pack("<i", 255), "0XFF"),
        ("ItemLongLong", "I64d", struct.pack("<q", -5), "-5"),
        ("ItemLongLongX", "I64x", struct.pack("<q", -1), "f" * 16),
        ("ItemULongLong", "I64u", struct.pack("<Q", 1 << 63), str(1 << 63)),
        ("ItemDouble", ".2f", struct.pack("<d", 1.5), "1.50"),
        ("ItemPtr", "p", struct.pack("<Q", 0xFFFF800012345678), "FFFF800012345678"),
        ("ItemString", "-6s", b"ab\0", "ab    "),
        ("ItemWString", "s", "äö\0".encode("utf-16-le"), "äö"),
        ("ItemPString", "s", struct.pack("<H", 2) + b"cd", "cd"),
        ("ItemPWString", "s", struct.pack("<H", 4) + "ef".encode("utf-16-le"), "ef"),
        ("ItemGuid", "s", GUID.bytes_le, str(GUID)),
        ("ItemSid", "s", SID, "S-1-5-18"),
        ("ItemHexDump", "s", struct.pack("<H", 3) + b"\1\2\xff", "01 02 ff"),
        ("ItemMACAddr", "s", bytes(range(6)), "00-01-02-03-04-05"),
        ("ItemIPAddr", "s", bytes([10, 0, 0, 1]), "10.0.0.1"),
        ("ItemIPV6Addr", "s", bytes(15) + b"\1", "::1"),
        ("ItemPort", "s", struct.pack(">H", 443), "443"),
        ("ItemNTSTATUS", "s", struct.pack("<I", 0xC0000022), "0xc0000022"),
        ("ItemHRESULT", "s", struct.pack("<I", 0x80070005), "0x80070005"),
        ("ItemWINERROR", "s", struct.pack("<I", 5), "5"),
        ("ItemListLong(Off,On)", "s", struct.pack("<I", 1), "0x00000001(On)"),
        ("ItemListByte(Off,On)", "s", b"\7", "0x00000007"),
        ("ItemSetLong(1,2,3)", "s", struct.pack("<I", 5), "[1,3]"),
        ("ItemTimestamp", "s", struct.pack("<q", 132223104000000000), "2020-01-01T00:00:00.0000000Z"),
        ("ItemTimeDelta", "s", struct.pack("<q", 15_000_000), "1.5000000 s"),
        ("ItemWaitTime", "s", struct.pack("<q", -10_000_000), "-1.0000000 s"),
    ],
)  # fmt: skip
def test_every_type_is_read_and_shown(
    tmp_path: Path, kind: str, form: str, payload: bytes, shown: str
) -> None:
    """Each type between two integers: it takes the bytes that it should, and its text is that of a trace viewer."""
    text = section(message(1, f"%0%10!d!|%11!{form}!|%12!d!", "ItemLong", kind, "ItemLong"))
    found, _decoder = decoded(tmp_path, text, 1, struct.pack("<i", 7) + payload + struct.pack("<i", 9))
    assert (found.message, found.problem) == (f"7|{shown}|9", "")


def test_pointers_are_as_wide_as_the_message_says(tmp_path: Path) -> None:
    """TRACE_MESSAGE_POINTER32 among the options: four bytes, though the session's are eight."""
    module = tmf.parse(section(message(1, "%10!p!", "ItemPtr")).encode(), "x.tmf")[0]
    raw = encoder.message(T, 1, struct.pack("<I", 0x1234), guid=GUID)
    raw = raw[:6] + struct.pack("<H", struct.unpack_from("<H", raw, 6)[0] | 0x40) + raw[8:]
    path = tmp_path / "p.etl"
    path.write_bytes(encoder.header_buffer() + encoder.buffer(raw))
    with TraceLog(path) as log:
        record = list(log)[1]
    assert isinstance(record, MessageRecord)
    values, problem = wpp.layout(module, module.messages[1]).read(record.payload, wpp.pointer_size(record, 8))
    assert (wpp.text(module, module.messages[1], record, values), problem) == ("00001234", "")


def test_a_type_that_is_not_known_stops_there(tmp_path: Path) -> None:
    """What came before is kept; no text is made of half of the arguments."""
    text = section(message(1, "%0%10!d! %11!s!", "ItemLong", "ItemUnheardOf"))
    found, _decoder = decoded(tmp_path, text, 1, struct.pack("<ii", 7, 8))
    assert (found.values, found.message) == ({"value0": 7}, "")
    assert "in field 'value1' at byte 4" in found.problem


def test_missing_formats_are_counted_by_their_file(tmp_path: Path) -> None:
    """No file for the GUID, and no such number in the file: two reasons; only the first is a file to look for."""
    other = uuid.UUID(int=5)
    found, decoder = decoded(tmp_path, section(message(1, "x")), 1, b"", guid=other)
    assert (found.how, found.event) == ("raw", "message 1")
    assert found.reason == "no trace message format for the message's GUID"
    assert decoder.formatless == {other.bytes_le: 1}
    found, decoder = decoded(tmp_path, section(message(1, "x")), 2, b"")
    assert found.reason == "the trace message format has no such message"
    assert decoder.formatless == {}


def test_several_sections_and_directories_are_one_collection(tmp_path: Path) -> None:
    """Files named after a GUID are read when it is asked for; any other name is read at once; UTF-16 too."""
    second = uuid.UUID(int=2)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    both = section(message(1, "first")) + section(message(9, "ninth")).replace(str(GUID), str(second))
    (tmp_path / "a" / "default.TMF").write_bytes("\ufeff".encode("utf-16-le") + both.encode("utf-16-le"))
    (tmp_path / "b" / f"{GUID}.tmf").write_text(section(message(2, "second")))
    files = FormatFiles([tmp_path / "a", tmp_path / "b"])
    first = files.find(GUID.bytes_le)
    assert first is not None
    assert {number: one.text for number, one in first.messages.items()} == {1: "first", 2: "second"}
    found = files.find(second.bytes_le)
    assert found is not None
    assert (found.name, found.source, list(found.messages)) == ("labdriver", "lab.cpp", [9])
    assert files.find(bytes(16)) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "x.tmf:1: neither a message GUID nor a message: 'nonsense'"),
        ('#typev a 1 "x"\n{\n}\n', "x.tmf:1: a message stands before any message GUID"),
        (section('#typev a 1 "x"\n{\nbad line\n}\n'), "x.tmf:4: not an argument of a message: 'bad line'"),
        (section('#typev a 1 "x"\n{\n'), "the file ends within a message"),
        (section('#typev a 1 "x"\nx, ItemLong -- 10\n'), "x.tmf:3: neither a message GUID nor a message"),
    ],
)
def test_a_broken_format_file_is_refused_with_its_line(text: str, says: str) -> None:
    """File, line and what stands there."""
    with pytest.raises(BadDocument) as caught:
        tmf.parse(text.encode(), "x.tmf")
    assert says in caught.value.message


def test_where_no_format_file_is_the_way_out_is_named(tmp_path: Path) -> None:
    """An empty directory, and one that does not exist."""
    with pytest.raises(UsageError, match=r"no \.tmf file") as caught:
        FormatFiles([tmp_path])
    assert "tracepdb -f DRIVER.pdb -p DIR" in caught.value.hint
    with pytest.raises(UsageError, match="No such file"):
        FormatFiles([tmp_path / "none"])


def test_enumerations_name_values(tmp_path: Path) -> None:
    """As Tracepdb writes them: the names and values of an enumeration, then messages whose arguments refer to it."""
    text = section(
        "\n// PDB: lab.pdb\n#enumv _State\n{\nStateOff,0x0\nStateOn,0x1\n}\n#enumv _Bits\n{\nLow,0x1\nHigh,0x8\n}\n",
        message(3, "%0%10!s! %11!s! %12!s!", "ItemEnum(_State)", "ItemFlagsEnum(_Bits)", "ItemEnum(_Other)"),
    )
    found, _decoder = decoded(tmp_path, text, 3, struct.pack("<III", 1, 9, 4))
    assert found.message == "StateOn [Low,High] 4"


def test_a_message_without_arguments_needs_no_braces() -> None:
    """Some writers leave the empty block out; older ones put the number behind two strokes; GUIDs may have braces."""
    text = (
        f"{{{GUID}}} lab // SRC=my file.c MJ= MN=\n"
        '#typev a_1 1 "first"\n\n#typev a_2 2 "%10!d!"  //  LEVEL=X FUNC=f\n{\n  n, ItemLong // 10\n}, Constant\n'
        '#typev a_3 3 "quoted \\"word\\" here" // LEVEL=Y\n{\n}\n#other thing {\n ignored\n}\n'
    )
    (module,) = tmf.parse(text.encode(), "x.tmf")
    assert (module.name, module.source) == ("lab", "my file.c")
    assert [(one.number, one.text, one.level) for one in module.messages.values()] == [
        (1, "first", ""),
        (2, "%10!d!", "X"),
        (3, 'quoted \\"word\\" here', "Y"),
    ]
    assert [one.number for one in module.messages[2].arguments] == [10]


@given(st.text(alphabet='%!0123456789dsxpI64. #-{}"/\n', max_size=60), st.binary(max_size=40))
@example("%10!999999999d!", bytes(8))
@example("%10!.999999999s!", bytes(8))
@settings(max_examples=examples(70))
def test_any_text_takes_any_arguments(text: str, payload: bytes) -> None:
    """Specifications from nowhere never raise, and never make a line longer than its parts allow."""
    arguments = (tmf.Argument(10, "a", "ItemLong"), tmf.Argument(11, "b", "ItemString"))
    one = tmf.MessageFormat(number=1, place="x", text=text, arguments=arguments)
    module = tmf.Module(GUID.bytes_le, "m", "s", {1: one})
    record = MessageRecord(0, payload, 0, len(payload), 1, 0, 0, GUID.bytes_le, 0, False, 0, 0, 0)
    values, _problem = wpp.layout(module, one).read(payload, 8)
    shown = wpp.text(module, one, record, values)
    assert len(shown) <= (len(text) + 1) * (wpp.WIDEST + len(payload) + 20)


@given(st.text(max_size=300))
@settings(max_examples=examples(70))
def test_any_text_as_format_file_is_read_or_refused_in_words(text: str) -> None:
    """What is no format file is a document error with the place, never a traceback."""
    for written in (text, section(text), section(message(1, "x", "ItemLong")) + text):
        try:
            modules = tmf.parse(written.encode("utf-8", "replace"), "x.tmf")
        except BadDocument as error:
            assert error.message.startswith("x.tmf:")  # noqa: PT017
        else:
            assert all(isinstance(one, tmf.Module) for one in modules)
