# SPDX-License-Identifier: MIT
"""The header and the XML of a Windows image file, and whatever else a file may hold instead."""

from __future__ import annotations

import contextlib
import io
import struct
from xml.sax.saxutils import escape

import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.template.wim import LARGEST_XML, MOST_IMAGES, NotWim, WimImage, described, parse_images, read_wim

XML = """\ufeff<WIM><TOTALBYTES>1</TOTALBYTES>
<IMAGE INDEX="2"><NAME>B</NAME><WINDOWS><ARCH>9</ARCH><EDITIONID>ServerDatacenter</EDITIONID>
<INSTALLATIONTYPE>Server</INSTALLATIONTYPE><VERSION><BUILD>20348</BUILD></VERSION>
<LANGUAGES><DEFAULT>de-DE</DEFAULT></LANGUAGES></WINDOWS></IMAGE>
<IMAGE INDEX="1"><NAME>A</NAME></IMAGE></WIM>"""


def wim(xml: bytes = XML.encode("utf-16-le"), **changes: int) -> bytes:
    """A file with a WIM's header and nothing but XML after it; ``changes`` are fields of the header."""
    size = changes.get("size", len(xml))
    entry = struct.pack(
        "<QQQ",
        size | changes.get("flags", 2) << 56,
        changes.get("offset", 208),
        changes.get("original", size),
    )
    head = struct.pack(
        "<8sIIII16sHHI24s24s24sI24s60x",
        b"MSWIM\0\0\0", 208, 0x10D00, 0, 32768, bytes(16), changes.get("part", 1), 1, 2,
        bytes(24), entry, bytes(24), 0, bytes(24),
    )  # fmt: skip
    return head + xml


def read(data: bytes) -> list[WimImage]:
    """Read a file held in memory."""
    return read_wim(io.BytesIO(data), len(data))


def test_images_in_order() -> None:
    """By their index, with all that is told of each, and nothing for what is not."""
    first, second = read(wim())
    assert WimImage(index=1, name="A") == first
    assert (
        WimImage(
            index=2,
            name="B",
            edition="ServerDatacenter",
            installation="Server",
            architecture="amd64",
            build=20348,
            language="de-DE",
        )
        == second
    )
    assert "2: B (ServerDatacenter, Server, build 20348, de-DE)" == described(second)
    assert "1: A ()" == described(first)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "only 0 bytes long"),
        (b"PK" * 200, "does not begin like a WIM"),
        (wim(part=2), "part 2 of a split WIM, not the first"),
        (wim(flags=4), "compressed"),
        (wim(original=3), "compressed"),
        (wim(size=LARGEST_XML + 2, original=LARGEST_XML + 2), "is said to have"),
        (wim(size=4000, original=4000), "cut short"),
        (wim(offset=1 << 40), "cut short"),
        (wim(offset=0), "cut short"),
        (wim(b"\x00\xd8"), "not UTF-16"),
        (wim("<WIM><IMAGE></WIM>".encode("utf-16-le")), "broken"),
        (wim("<WIM/>".encode("utf-16-le")), "names no image"),
        (wim('<WIM><IMAGE INDEX="x"/></WIM>'.encode("utf-16-le")), "names no image"),
        (wim('<!DOCTYPE a [<!ENTITY b "c">]><WIM/>'.encode("utf-16-le")), "has a declaration"),
    ],
)
def test_what_is_no_wim(data: bytes, words: str) -> None:
    """Each is refused by its own words."""
    with pytest.raises(NotWim, match=words):
        read(data)


def test_too_many_images() -> None:
    """A medium has a dozen images at most."""
    many = "".join(f'<IMAGE INDEX="{index}"/>' for index in range(1, MOST_IMAGES + 2))
    with pytest.raises(NotWim, match=f"more than {MOST_IMAGES}"):
        read(wim(f"<WIM>{many}</WIM>".encode("utf-16-le")))


@settings(max_examples=examples(60))
@given(st.binary(max_size=600))
@example(wim()[:300])
def test_any_bytes(data: bytes) -> None:
    """Whatever the bytes are, they are read or refused."""
    with contextlib.suppress(NotWim):
        assert read(data)


@settings(max_examples=examples(60))
@given(st.integers(0, len(wim()) - 1), st.integers(0, 255))
def test_any_byte_changed(place: int, byte: int) -> None:
    """So is a WIM with one byte changed."""
    data = bytearray(wim())
    data[place] = byte
    with contextlib.suppress(NotWim):
        assert read(bytes(data))


@settings(max_examples=examples(60))
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_names_are_printable(name: str) -> None:
    """Names go to terminals: nothing that moves a cursor is left in them."""
    xml = f'<WIM><IMAGE INDEX="1"><NAME>{escape(name)}</NAME></IMAGE></WIM>'
    try:
        (image,) = parse_images(xml.encode("utf-16-le"))
    except NotWim:
        return
    assert image.name.isprintable()
