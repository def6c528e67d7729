# SPDX-License-Identifier: MIT
"""What a manifest cannot say is refused with file, line, element, value and what to do; and XML cannot do harm."""

from __future__ import annotations

import contextlib
import time

import pytest
from driver.manifests import PROVIDER, manifest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.driver.instrumentation import source
from harness.driver.instrumentation.compiler import compile_manifest
from harness.errors import BadDocument

STRINGS = '<string id="a" value="a"/><string id="one" value="%1"/><string id="open" value="%1!d"/>'
U16 = '<data name="n" inType="win:UInt16"/>'


def template(fields: str) -> str:
    """A template and an event that has it."""
    return f'<templates><template tid="T">{fields}</template></templates>'


def event(attributes: str) -> str:
    """One event."""
    return f'<events><event value="1" {attributes}/></events>'


CHANNEL = '<channels><channel name="C" type="Admin"/></channels>'
CASES = [
    # events
    (event('version="256"'), '<event version="256">: is not a number from 0 to 255', "hexadecimal"),
    (event('version="0x100"'), '<event version="0x100">: is not a number', "0x"),
    (event('chanel="C"'), '<event chanel="C">: has no attribute', "Did you mean 'channel'?"),
    (event('level="win:Eror"'), "there is no level 'win:Eror'", "Did you mean 'win:Error'?"),
    (event('level="Error"'), "there is no level 'Error'", "win:Error"),
    (event('level="vin:Error"'), "no namespace has the prefix 'vin'", "Did you mean 'win'?"),
    (event('task="T"'), "there is no task 'T'", "win:None"),
    (event('opcode="O"'), "there is no opcode 'O'", "win:Start"),
    (event('keywords="win:SQM K"'), "there is no keyword 'K'", "win:ResponseTime"),
    (event('channel="Nosuch"'), "there is no such channel", "System"),
    (event('message="text"'), "is not a reference to a string", "$(string.ID)"),
    (event('message="$(mc.A)"'), "refers to a message file", "string table"),
    (event('message="$(string.b)"'), "there is no string 'b' for en-US", "string table of en-US"),
    (event('message="$(string.nne)"'), "there is no string 'nne'", "$(string.one)"),
    (event('message="$(string.one)"'), "inserts %1, and the event has 0 fields", "%%"),
    (
        template(U16) + event('template="T" message="$(string.open)"'),
        "begins a format after %1! that never ends",
        "%1!s!",
    ),
    (event('symbol="1A"'), "is not a symbol of C", "digit"),
    (event('notLogged="yes"'), "is neither true nor false", "true"),
    (event('attributes="FILE"'), "is not a list of name=value", ";"),
    ("<events><event/></events>", "lacks the attribute 'value'", "Add value"),
    (
        '<events><event value="-1"/></events>',
        '<event value="-1">: is not a number from 0 to 65535',
        "decimal",
    ),
    (
        '<events><event value="1" symbol="A"/><event value="2" symbol="A"/></events>',
        "the same symbol",
        "its own",
    ),
    ('<events><evnt value="1"/></events>', "does not belong in <events>", "event"),
    ("<event value='1'/>", "does not belong in <provider>", "Did you mean 'events'?"),
    (CHANNEL + event('channel="C" level="win:Error"'), "has no message", "message="),
    (CHANNEL + event('channel="C" message="$(string.a)"'), "does not have one of its levels", "win:Error"),
    (
        CHANNEL + event('channel="C" message="$(string.a)" level="win:Verbose"'),
        "not have one of its levels",
        "win:Error",
    ),
    (
        '<tasks><task name="T" value="1"><opcodes><opcode name="L" value="20"/></opcodes></task></tasks>'
        '<opcodes><opcode name="G" value="20"/></opcodes>' + event('task="T" opcode="G"'),
        "has the same value, 20",
        "another value",
    ),
    # definitions
    ('<levels><level name="L" value="15"/></levels>', "15 is reserved", "16 to 255"),
    (
        '<levels><level name="win:L" value="16"/></levels>',
        "the namespace win is Windows' own",
        "without win:",
    ),
    (
        '<levels><level name="L" value="16"/><level name="M" value="16"/></levels>',
        "has the same value",
        "its own",
    ),
    (
        '<levels><level name="L" value="16"/><level name="L" value="17"/></levels>',
        "has the same name",
        "its own",
    ),
    ('<levels><level name="1" value="16"/></levels>', "'1' is not a name", "begins with a letter"),
    ('<opcodes><opcode name="O" value="240"/></opcodes>', "240 is reserved", "10 to 239"),
    ('<tasks><task name="T" value="65536"/></tasks>', "is not a number from 0 to 65535", "decimal"),
    ('<tasks><task name="T" value="1" eventGUID="1"/></tasks>', "is not a GUID", "braces"),
    ('<keywords><keyword name="K" mask="1"/></keywords>', "is not a hexadecimal number", "0x"),
    ('<keywords><keyword name="K" mask="0x0"/></keywords>', "one bit", "0x1, 0x2"),
    ('<keywords><keyword name="K" mask="0x1000000000000"/></keywords>', "lowest 48", "0x800000000000"),
    ('<channels><channel name="C" type="Log"/></channels>', "is not a type of channels", "Admin"),
    ('<channels><channel name="C"/></channels>', "lacks the attribute 'type'", "type="),
    ('<channels><channel name="C" type="Debug" value="9"/></channels>', "9 is reserved", "16 to 255"),
    ('<channels><channel name="C:" type="Debug"/></channels>', "is not a name of a channel", "255"),
    (
        "<channels>" + "".join(f'<channel name="C{i}" type="Debug"/>' for i in range(9)) + "</channels>",
        "has 9 channels, and a provider can have 8",
        "fewer",
    ),
    ('<maps><valueMap name="M"/></maps>', "has no <map>", "<map"),
    (
        '<maps><valueMap name="M"><map value="1"/></valueMap></maps>',
        "lacks the attribute 'message'",
        "message=",
    ),
    (
        '<maps><bitMap name="M"><map value="0x3" message="$(string.a)"/></bitMap></maps>',
        "a bit map's value has one bit",
        "0x1",
    ),
    (
        '<maps><valueMap name="M">' + 2 * '<map value="1" message="$(string.a)"/>' + "</valueMap></maps>",
        "has the same value",
        "its own",
    ),
    ('<filters><filter name="F" value="1" tid="T"/></filters>', "there is no such template", "none"),
    # templates
    (template('<data name="n"/>'), "lacks the attribute 'inType'", "inType"),
    (
        template('<data name="n" inType="win:UInt16" outType="xs:int"/>'),
        "cannot be shown as this",
        "win:Port",
    ),
    (
        template('<data name="n" inType="win:UInt16" outType="xs:nt"/>'),
        "no such output type",
        "unsignedShort",
    ),
    (
        template('<data name="n" inType="UInt16"/>'),
        "there is no such input type",
        "Did you mean 'win:UInt16'?",
    ),
    (template('<data name="n" inType="win:Binary"/>'), "needs a length", "length="),
    (template('<data name="n" inType="win:UInt32" length="42"/>'), "has no length", "count"),
    (template('<data name="n" inType="win:CountedBinary" length="4"/>'), "has no length", "Remove"),
    (template('<data name="b" inType="win:Binary" length="l"/>'), "no field before this one", "none"),
    (template(f'<data name="b" inType="win:Binary" length="n"/>{U16}'), "no field before this one", "before"),
    (template('<data name="b" inType="win:AnsiString" count="65536"/>'), "is more than 65535", "65535"),
    (
        template('<data name="f" inType="win:Float"/><data name="b" inType="win:Binary" length="f"/>'),
        "the field that it names is not a number",
        "win:UInt16",
    ),
    (template(f"{U16}<struct name='s'/>"), "has no member", "<data"),
    (template(f"{U16}<struct name='s' length='2'>{U16}</struct>"), "a structure has no length", "members"),
    (template(f"<struct name='s'>{U16}{U16}</struct>"), "another field has this name", "its own"),
    (template('<data name="n" inType="win:UInt16" map="M"/>'), "there is no such map", "none"),
    (
        '<maps><valueMap name="M"><map value="1" message="$(string.a)"/></valueMap></maps>'
        + template('<data name="n" inType="win:Int16" map="M"/>'),
        "a field of type win:Int16 has no map",
        "win:UInt8",
    ),
    (
        template("".join(f'<data name="n{i}" inType="win:UInt8"/>' for i in range(100))),
        "has 100 fields, and a template can have 99",
        "<struct>",
    ),
    (template(f"{U16}<UserData><a/><b/></UserData>"), "has 2 elements instead of one", "one element"),
    (
        template(f'{U16}<UserData><a xmlns="x">%2</a></UserData>'),
        "'%2' is not one of the template's 1 fields",
        "%1",
    ),
    (template(f'{U16}<UserData><a xmlns="x">n: %1</a></UserData>'), "is not one of", "nothing else"),
    (template(U16) + template(U16), "has the same tid", "its own"),
]


@pytest.mark.parametrize(("body", "words", "way_out"), CASES, ids=[case[1][:48] for case in CASES])
def test_refusals(body: str, words: str, way_out: str) -> None:
    """A mistake in a provider is told with its line, its element, its value, and the way out."""
    with pytest.raises(BadDocument) as caught:
        compile_manifest(manifest(body, STRINGS), "made.man")
    line = 4 if "channels, and" in words else 5
    assert caught.value.message.startswith(f"made.man:{line}: <")
    assert words in caught.value.message
    assert way_out in caught.value.hint


PROVIDERS = [
    (PROVIDER.replace("guid=", "gid="), "has no attribute 'gid'"),
    (PROVIDER.replace('guid="{5D1F0E5A', 'guid="{5D1F0E5'), "is not a GUID"),
    (PROVIDER.replace(' symbol="Made"', ""), "lacks the attribute 'symbol'"),
    (PROVIDER.replace(' resourceFileName="made.sys"', ""), "lacks the attribute 'resourceFileName'"),
    (PROVIDER.replace('"Made"', '"Ma|de"', 1), "is not a name of a provider"),
    (
        PROVIDER + ' controlGuid="{5D1F0E5B-7C11-4B6E-9E0A-3C2B1A09F8E7}"',
        "with a controlGuid the provider's name ends with its guid",
    ),
]


@pytest.mark.parametrize(("provider", "words"), PROVIDERS)
def test_providers(provider: str, words: str) -> None:
    """A provider that Windows could not register is refused."""
    with pytest.raises(BadDocument) as caught:
        compile_manifest(manifest("", provider=provider), "made.man")
    assert caught.value.message.startswith("made.man:4: <provider ")
    assert words in caught.value.message


def test_a_prefix_without_a_namespace() -> None:
    """A manifest without its declarations is told the one that it needs."""
    data = manifest(event('level="win:Error"')).replace(b"xmlns:win=", b"xmlns:windows=")
    with pytest.raises(BadDocument, match="no namespace has the prefix 'win'") as caught:
        compile_manifest(data, "made.man")
    assert 'xmlns:win="http://manifests.microsoft.com/win/2004/08/windows/events"' in caught.value.hint


def test_a_second_provider_with_the_same_guid() -> None:
    """Two providers cannot have one GUID; the line of the other is named."""
    data = manifest("").replace(
        b"</provider>", f"</provider><provider {PROVIDER.replace('Made', 'B')}/>".encode()
    )
    with pytest.raises(BadDocument, match="another one, on line 4, has the same guid"):
        compile_manifest(data, "made.man")


@pytest.mark.parametrize(
    ("strings", "words"),
    [
        ('<string id="a" value="1"/><string id="a" value="2"/>', "another string with this id for en-US"),
        ('<string id="a"/>', "lacks the attribute 'value'"),
        (f'<string id="a" value="{"x" * 0x8000}"/>', "its text is longer than"),
    ],
)
def test_strings(strings: str, words: str) -> None:
    """A string table that a message table cannot be made of is refused."""
    with pytest.raises(BadDocument) as caught:
        compile_manifest(manifest("", strings), "made.man")
    assert words in caught.value.message


def test_two_strings_with_one_number() -> None:
    """Two opcodes whose messages would have one number are refused: a number has eight bits of the task's value."""
    tasks = "".join(
        f'<task name="T{value}" value="{value}"><opcodes><opcode name="O" value="20" message="$(string.s{value})"/>'
        "</opcodes></task>"
        for value in (1, 257)
    )
    with pytest.raises(BadDocument, match="'s1' and 's257' would both be message 0x30010014"):
        compile_manifest(
            manifest(f"<tasks>{tasks}</tasks>", '<string id="s1" value="a"/><string id="s257" value="b"/>'),
            "m",
        )


HOSTILE = [
    (b"", "not well-formed XML: no element found"),
    (b"<a>", "not well-formed XML"),
    (b"<a/>", "is not the root of an instrumentation manifest"),
    (b'<?xml version="1.0" encoding="nosuch"?><a/>', "unknown encoding"),
    (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "a DOCTYPE is not allowed"),
    (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "a DOCTYPE is not allowed"),
    (b"<a>&x;</a>", "not well-formed XML: undefined entity"),
    (b"<a>" * 100 + b"</a>" * 100, "or more than 64 one in another"),
    (b"<a>" + b"<b/>" * 1000 + b"</a>", "more than 1000 elements"),
    (b" " * (source.LARGEST + 1), "bytes are too many for a manifest"),
]


@pytest.mark.parametrize(("data", "words"), HOSTILE, ids=[case[1] for case in HOSTILE])
def test_hostile_xml(data: bytes, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """XML that is none, reaches outside, or is too much is refused."""
    monkeypatch.setattr(source, "MOST_ELEMENTS", 1000)
    with pytest.raises(BadDocument) as caught:
        compile_manifest(data, "made.man")
    assert words in caught.value.message


def test_many_names_do_not_take_long() -> None:
    """A mistyped name among very many long ones is told at once, and the hint stays short."""
    levels = "".join(f'<level name="{"L" * 300}{value}" value="{value}"/>' for value in range(16, 144))
    tasks = "".join(f'<task name="T{value}" value="{value}"/>' for value in range(1000))
    begun = time.monotonic()
    for body in (
        f"<levels>{levels}</levels>" + event(f'level="{"L" * 7_000}"'),
        f"<tasks>{tasks}</tasks>" + event('task="T9999999"'),
    ):
        with pytest.raises(BadDocument) as caught:
            compile_manifest(manifest(body), "made.man")
        assert len(str(caught.value)) < 12_000
    assert time.monotonic() - begun < 10


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_struck_manifests_are_compiled_or_refused(data: st.DataObject) -> None:
    """Whatever is done to a manifest's bytes, it is compiled or refused with words."""
    whole = bytearray(manifest(CHANNEL + template(U16) + event('level="win:Error" template="T"'), STRINGS))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 8))] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"%1", b'"', b"0x", b"win:"])
        )
    with contextlib.suppress(BadDocument):
        compile_manifest(bytes(whole), "made.man")
