# SPDX-License-Identifier: MIT
"""Logs that describe their own events: TRACE_EVENT_INFO of a merge, and manifests that EventSources send."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.capture.etl import event_info, manifest
from harness.capture.etl.decoder import Decoded, Decoder
from harness.capture.etl.tracelog import TraceLog
from tests.capture.etl import encoder

T = encoder.START
PROVIDER = uuid.UUID("11111111-2222-3333-4444-555555555555")

MANIFEST = f"""<instrumentationManifest><instrumentation><events>
<provider name="Lab-Source" guid="{{{PROVIDER}}}" symbol="LabSource">
<tasks><task name="Hot" value="1"/></tasks><events>
<event value="1" version="0" task="Hot" symbol="HotAdd" template="t" message="$(string.hot)"/></events>
<templates><template tid="t"><data name="slot" inType="win:UInt32"/><data name="name" inType="win:UnicodeString"/>
</template></templates></provider></events></instrumentation>
<localization><resources culture="en"><stringTable><string id="hot" value="slot %1 is %2"/></stringTable></resources>
</localization></instrumentationManifest>"""

Decode = Callable[..., list[Decoded]]


@pytest.fixture
def decode(tmp_path: Path) -> Decode:
    """Write a log of these records, let a decoder learn from it, and decode the events of the lab's provider."""

    def decode(*records: bytes, providers: list[manifest.Provider] | None = None) -> list[Decoded]:
        path = tmp_path / "described.etl"
        path.write_bytes(encoder.header_buffer() + encoder.buffer(*records, size=1 << 16))
        decoder = Decoder(providers or [])
        with TraceLog(path) as log:
            decoder.learn(log)
            return [decoder.decode(one) for one in log if one.provider == PROVIDER.bytes_le]

    return decode


def info(payload: bytes, *, opcode: int = 32, time: int = T + 100) -> bytes:
    """A record of KernelTraceControl, later than the events that it describes."""
    return encoder.classic(time, encoder.METADATA, opcode, payload)


def test_an_event_is_decoded_by_the_description_that_stands_behind_it(decode: Decode) -> None:
    """Values, names of values, task and opcode, the message: all of it comes from the log."""
    described = encoder.event_info(
        PROVIDER,
        7,
        [
            {"name": "slot", "in_type": 8},
            {"name": "state", "in_type": 4, "map": "States"},
            {"name": "flags", "in_type": 8, "out_type": 18},
            {"name": "name", "in_type": 1},
        ],
        opcode=3,
        task=9,
        texts={"provider": "Lab-Provider", "task": "Hot ", "opcode": "Add ", "message": "slot %1: %2, %4 "},
    )
    payload = struct.pack("<IBI", 5, 2, 0x30) + "dimm-1\0".encode("utf-16-le")
    (found,) = decode(
        encoder.event(T + 1, payload, provider=PROVIDER, event_id=7, opcode=3),
        info(described),
        info(encoder.map_info(PROVIDER, "States", {1: "empty", 2: "present"}), opcode=33),
    )
    assert (found.how, found.provider, found.event) == ("event info", "Lab-Provider", "Hot/Add")
    assert found.values == {"slot": 5, "state": 2, "flags": 0x30, "name": "dimm-1"}
    assert (found.message, found.problem) == ("slot 5: present, dimm-1", "")


def test_structures_counts_and_lengths_follow_the_fields_that_they_name(decode: Decode) -> None:
    """A structure repeated as often as the first field says, each with bytes as long as its own first field says."""
    described = encoder.event_info(
        PROVIDER,
        1,
        [
            {"name": "count", "in_type": 6},
            {"name": "part", "flags": 0x1 | 0x4, "in_type": 3, "out_type": 2, "count": 0},
            {"name": "pair", "in_type": 4, "flags": 0x20, "count": 2},
            {"name": "size", "in_type": 4},
            {"name": "raw", "in_type": 14, "flags": 0x2, "length": 3},
        ],
        top=3,
    )
    payload = struct.pack("<H", 2) + b"\1a" + b"\2bc" + b"\7\x08"
    (found,) = decode(encoder.event(T + 1, payload, provider=PROVIDER), info(described))
    assert found.values == {
        "count": 2,
        "part": [{"size": 1, "raw": b"a"}, {"size": 2, "raw": b"bc"}],
        "pair": [7, 8],
    }
    assert found.problem == ""


def test_every_in_type_of_tdh_is_read(decode: Decode) -> None:
    """Those that only MOF classes have among them: counted text, text to the end, characters, sizes, a SID in a token."""
    sid = b"\1\1" + bytes(5) + b"\5" + struct.pack("<I", 18)
    kinds = [
        (300, struct.pack("<H", 4) + "ab".encode("utf-16-le"), "ab"),
        (301, struct.pack("<H", 2) + b"cd", "cd"),
        (306, "x".encode("utf-16-le"), "x"),
        (307, b"y", "y"),
        (308, struct.pack("<Q", 1 << 40), 1 << 40),
        (310, struct.pack("<QQ", 1, 0) + sid, "S-1-5-18"),
        (310, bytes(4), None),
        (304, "end".encode("utf-16-le"), "end"),
    ]
    described = encoder.event_info(
        PROVIDER, 1, [{"name": f"f{number}", "in_type": one[0]} for number, one in enumerate(kinds)]
    )
    payload = b"".join(one[1] for one in kinds)
    (found,) = decode(encoder.event(T + 1, payload, provider=PROVIDER), info(described))
    assert list(found.values.values()) == [one[2] for one in kinds]


def test_a_classic_event_is_found_by_its_class_and_opcode(decode: Decode) -> None:
    """A description from WMI (source 1) names a class; the id in its descriptor means nothing."""
    described = encoder.event_info(
        uuid.UUID(int=9),
        0,
        [{"name": "value", "in_type": 8}],
        opcode=5,
        version=2,
        source=1,
        event_class=PROVIDER,
        texts={"provider": "Old", "task": "Class", "opcode": "Five"},
    )
    (found,) = decode(encoder.classic(T + 1, PROVIDER, 5, struct.pack("<I", 77)), info(described))
    assert (found.how, found.provider, found.event) == ("event info", "Old", "Class/Five")
    assert found.values == {"value": 77}


def test_a_given_manifest_goes_before_the_logs_own_description(decode: Decode) -> None:
    """The user may know better; versions that the manifest lacks come from the log."""
    described = [
        info(encoder.event_info(PROVIDER, 1, [{"name": "other"}], version=version)) for version in (0, 1)
    ]
    payload = struct.pack("<I", 3) + "x\0".encode("utf-16-le")
    found = decode(
        encoder.event(T + 1, payload, provider=PROVIDER),
        encoder.event(T + 2, struct.pack("<I", 3), provider=PROVIDER, version=1),
        *described,
        providers=manifest.parse(MANIFEST.encode(), "lab.man"),
    )
    assert [one.how for one in found] == ["manifest", "event info"]
    assert found[0].message == "slot 3 is x"


@pytest.mark.parametrize("size", [100_000, 64])
def test_an_eventsource_sends_its_manifest(decode: Decode, size: int) -> None:
    """In one chunk or in many, out of order and twice, behind the events that it describes."""
    chunks = encoder.manifest_chunks(T + 50, PROVIDER, MANIFEST.encode(), size)
    payload = struct.pack("<I", 3) + "dimm\0".encode("utf-16-le")
    found = decode(
        encoder.event(T + 1, payload, provider=PROVIDER), *reversed(chunks), *chunks[: 1 + len(chunks) // 2]
    )
    assert (found[0].how, found[0].provider, found[0].event) == ("eventsource", "Lab-Source", "HotAdd")
    assert found[0].message == "slot 3 is dimm"
    assert {(one.how, one.event) for one in found[1:]} == {("eventsource", "ManifestData")}
    assert found[1].values["TotalChunks"] == len(chunks)


@pytest.mark.parametrize(
    "xml",
    [
        MANIFEST.replace("</provider>", ""),
        "<!DOCTYPE x [<!ENTITY a 'b'>]>" + MANIFEST,
        MANIFEST.replace(str(PROVIDER), str(uuid.UUID(int=3))),
    ],
)
def test_a_broken_or_strange_manifest_in_a_log_describes_nothing(decode: Decode, xml: str) -> None:
    """Not well-formed, with a DOCTYPE, or of another provider: the events stay raw and say why."""
    chunks = encoder.manifest_chunks(T + 50, PROVIDER, xml.encode(), 100_000)
    found = decode(encoder.event(T + 1, b"....", provider=PROVIDER), *chunks)
    assert (found[0].how, found[0].reason) == ("raw", "nothing describes the provider")


def test_a_missing_chunk_describes_nothing(decode: Decode) -> None:
    """A manifest of which a part was lost cannot be read."""
    chunks = encoder.manifest_chunks(T + 50, PROVIDER, MANIFEST.encode(), 64)
    found = decode(encoder.event(T + 1, b"....", provider=PROVIDER), *chunks[1:])
    assert found[0].how == "raw"


def test_a_version_that_is_not_described_says_so(decode: Decode) -> None:
    """Another version may have other fields, so nothing is guessed."""
    described = info(encoder.event_info(PROVIDER, 1, [{"name": "value"}], texts={"provider": "Lab"}))
    (found,) = decode(encoder.event(T + 1, b"....", provider=PROVIDER, version=4), described)
    assert (found.provider, found.event) == ("Lab", "1/4")
    assert found.reason == "the provider's descriptions have no such event or version"


def test_structures_within_themselves_are_refused() -> None:
    """Members are named by index, so a hostile description may contain itself, or double at every level."""
    itself = [{"name": "s", "flags": 1, "in_type": 0, "out_type": 1}]
    assert event_info.parse(encoder.event_info(PROVIDER, 1, itself), {}) is None
    doubling = [{"name": f"s{n}", "flags": 1, "in_type": n + 1, "out_type": 2} for n in range(0, 40, 1)]
    assert event_info.parse(encoder.event_info(PROVIDER, 1, doubling, top=1), {}) is None


@given(st.binary(max_size=400), st.integers(0, 399), st.binary(max_size=4))
@settings(max_examples=examples(70))
def test_any_description_is_read_or_refused(tail: bytes, place: int, change: bytes) -> None:
    """Bytes from nowhere, and a good description with some of its bytes changed."""
    good = encoder.event_info(
        PROVIDER, 1, [{"name": "a", "map": "m"}, {"name": "b", "flags": 5, "in_type": 0, "out_type": 1}],
        texts={"task": "T", "message": "%1"},
    )  # fmt: skip
    changed = bytearray(good)
    changed[place : place + len(change)] = change
    for raw in (bytes(changed), good[:112] + tail, tail):
        event_info.key(raw)
        found = event_info.parse(raw, {"m": ({1: "one"}, False)})
        assert found is None or len(found.description.fields) <= event_info.MOST_FIELDS
        event_info.parse_map(raw)
