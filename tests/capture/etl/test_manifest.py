# SPDX-License-Identifier: MIT
"""Instrumentation manifests: what they describe, and what is refused."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest

from harness.capture.etl import manifest
from harness.capture.etl.decoder import Decoder
from harness.capture.etl.tracelog import TraceLog
from harness.errors import BadDocument, UsageError
from tests.capture.etl import encoder

GUID = uuid.UUID("c1a3d8f0-1122-3344-5566-778899aabbcc")

MANIFEST = f"""<?xml version="1.0" encoding="UTF-8"?>
<instrumentationManifest xmlns="http://schemas.microsoft.com/win/2004/08/events"
    xmlns:win="http://manifests.microsoft.com/win/2004/08/windows/events">
  <instrumentation><events>
    <provider name="Lab-Driver" guid="{{{str(GUID).upper()}}}" symbol="LAB" resourceFileName="x" messageFileName="x">
      <levels><level name="lab:Loud" value="17"/></levels>
      <tasks><task name="Sync" value="1"><opcodes><opcode name="Enter" value="11"/></opcodes></task>
        <task name="Async" value="2"/></tasks>
      <opcodes><opcode name="Exit" value="0x0C"/></opcodes>
      <keywords><keyword name="Hot" mask="0x1"/></keywords>
      <maps>
        <valueMap name="State"><map value="0" message="$(string.Start)"/><map value="1" message="Complete"/></valueMap>
        <bitMap name="Bits"><map value="0x1" message="One"/><map value="0x4" message="Four"/></bitMap>
      </maps>
      <templates>
        <template tid="Enter">
          <data name="seq" inType="win:UInt64"/>
          <data name="state" inType="win:UInt32" map="State"/>
          <data name="bits" inType="win:UInt8" map="Bits" outType="win:HexInt8"/>
          <data name="status" inType="win:HexInt32" outType="win:NTSTATUS"/>
          <data name="who" inType="win:UnicodeString"/>
          <data name="size" inType="win:UInt16"/>
          <data name="raw" inType="win:Binary" length="size"/>
          <data name="fixed" inType="win:AnsiString" length="4"/>
          <data name="many" inType="win:UInt8" count="size"/>
          <struct name="cpu" count="2"><data name="group" inType="win:UInt16"/><data name="number" inType="win:UInt8"/></struct>
        </template>
        <template tid="Small"><data name="p" inType="win:Pointer"/></template>
      </templates>
      <events>
        <event value="1" version="2" level="win:Informational" task="Sync" opcode="Enter" keywords="Hot" template="Enter"
               message="$(string.Enter)"/>
        <event value="2" level="lab:Loud" task="Async" opcode="Exit" symbol="AsyncExit" template="Small"/>
        <event value="0x3" opcode="win:Start"/>
      </events>
    </provider>
  </events></instrumentation>
  <localization><resources culture="en-US"><stringTable>
    <string id="Start" value="is starting"/>
    <string id="Enter" value="CPU %2 (%3), 100%% by %5%n%99"/>
  </stringTable></resources></localization>
</instrumentationManifest>"""

PAYLOAD = (
    struct.pack("<QIBI", 9, 0, 0x0D, 0xC000009A)
    + "hpn\0".encode("utf-16-le")
    + struct.pack("<H", 2)
    + b"\xaa\xbb"
    + b"abcd"
    + b"\7\x08"
    + struct.pack("<HBHB", 0, 3, 1, 4)
)


def test_an_event_is_decoded_by_its_manifest(tmp_path: Path) -> None:
    """Names, maps, lengths and counts by other fields, structures, and the message with its inserts."""
    decoder = Decoder(manifest.parse(MANIFEST.encode(), "lab.man"))
    path = tmp_path / "lab.etl"
    path.write_bytes(
        encoder.header_buffer()
        + encoder.buffer(
            encoder.event(encoder.START + 1, PAYLOAD, provider=GUID, event_id=1, version=2),
            encoder.event(encoder.START + 2, b"\4\3\2\1", provider=GUID, event_id=2, wide=False),
            encoder.event(encoder.START + 3, provider=GUID, event_id=3),
            encoder.event(encoder.START + 4, b"new", provider=GUID, event_id=1, version=3),
            encoder.event(encoder.START + 5, b"cut", provider=GUID, event_id=2),
        )
    )
    with TraceLog(path) as log:
        enter, leave, start, newer, cut = (decoder.decode(record) for record in list(log)[1:])
    assert (enter.how, enter.provider, enter.event, enter.problem) == (
        "manifest",
        "Lab-Driver",
        "Sync/Enter",
        "",
    )
    assert enter.values == {
        "seq": 9,
        "state": 0,
        "bits": 13,
        "status": 0xC000009A,
        "who": "hpn",
        "size": 2,
        "raw": b"\xaa\xbb",
        "fixed": "abcd",
        "many": [7, 8],
        "cpu": [{"group": 0, "number": 3}, {"group": 1, "number": 4}],
    }
    assert enter.message == "CPU is starting (One|Four|0x8), 100% by hpn\n%99"
    assert (leave.event, leave.values) == ("AsyncExit", {"p": 0x01020304})
    assert (start.event, start.values, start.how) == ("Start", {}, "manifest")
    assert (newer.how, newer.provider, newer.event) == ("raw", "Lab-Driver", "1/3")
    assert (cut.values, cut.problem != "", cut.message) == ({}, True, "")


def test_levels_opcodes_and_tasks_have_their_numbers() -> None:
    """A task's own opcode, the provider's, and those every provider has."""
    (provider,) = manifest.parse(MANIFEST.encode(), "lab.man")
    enter, leave, start = (provider.find(*key) for key in ((1, 2), (2, 0), (3, 0)))
    assert enter is not None
    assert leave is not None
    assert start is not None
    assert provider.guid == GUID.bytes_le
    assert (enter.level, enter.opcode, enter.task, enter.keywords) == (4, 11, "Sync", ("Hot",))
    assert (leave.level, leave.opcode, start.opcode) == (17, 12, 1)
    assert provider.find(1, 0) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'inType="win:UInt64"',
            'inType="win:Unheard"',
            "lab.man:17: <data> 'seq': inType 'win:Unheard' is not known",
        ),
        ('template="Small"', 'template="Nope"', "lab.man:33: <event> names the template 'Nope'"),
        ('value="0x3"', 'value="three"', "lab.man:34: <event> value='three' is not a number"),
        (str(GUID).upper(), "1234", "lab.man:5: <provider> 'Lab-Driver': '{1234}' is not a GUID"),
        ("</templates>", "", "lab.man:36: not well-formed XML: mismatched tag"),
        ("<provider ", "<supplier ", "not well-formed XML"),
        (
            'encoding="UTF-8"?>',
            'encoding="UTF-8"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
            "DOCTYPE",
        ),
        ('encoding="UTF-8"', 'encoding="nonsense"', "lab.man: its encoding cannot be read"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    """File, line and what is wrong; entities are never looked up."""
    with pytest.raises(BadDocument) as caught:
        manifest.parse(MANIFEST.replace(old, new).encode(), "lab.man")
    assert message in str(caught.value)


def test_xml_without_a_provider_is_no_manifest() -> None:
    """Other XML is refused with what was expected."""
    with pytest.raises(BadDocument, match="no <provider>"):
        manifest.parse(b"<project/>", "x.man")


def test_a_manifest_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    """With the system's own words."""
    with pytest.raises(UsageError, match="No such file"):
        manifest.load(tmp_path / "none.man")


def test_utf_16_manifests_are_read(tmp_path: Path) -> None:
    """What Windows editors save."""
    path = tmp_path / "wide.man"
    path.write_bytes(MANIFEST.replace("UTF-8", "UTF-16").encode("utf-16"))
    (provider,) = manifest.load(path)
    assert provider.name == "Lab-Driver"
