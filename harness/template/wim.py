# SPDX-License-Identifier: MIT
"""The description of the images in a Windows image file.

A WIM begins with a header of 208 bytes, which locates its XML. That is UTF-16 and never compressed, even in an
ESD or the first part of a split WIM (Microsoft: "Windows Imaging File Format (WIM)", white paper, 2007: Image Header,
XML Data). Nothing else of the file is read, and sizes are bounded: media are not trusted.
"""

from __future__ import annotations

import struct
from typing import BinaryIO
from xml.etree import ElementTree

import msgspec

from harness.errors import UsageError

MAGIC = b"MSWIM\0\0\0"
HEADER = struct.Struct("<8sIIII16sHHI24s24s24sI24s60x")
RESOURCE = struct.Struct("<QQQ")
COMPRESSED = 0x04
"""Flag of a resource, in the upper byte of its size."""

LARGEST_XML = 16 << 20
"""Bytes. A server's medium with four images has some 20 KiB."""

MOST_IMAGES = 64

ARCHITECTURES = {"0": "x86", "5": "arm", "9": "amd64", "12": "arm64"}
"""PROCESSOR_ARCHITECTURE_* (Windows API: SYSTEM_INFO)."""


class WimImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image: ``index`` from 1. Values that the file lacks are "" or 0."""

    index: int
    name: str = ""
    title: str = ""
    edition: str = ""
    installation: str = ""
    architecture: str = ""
    build: int = 0
    language: str = ""


class NotWim(ValueError):
    """The file is not a WIM, or its description of itself is impossible."""


def read_wim(file: BinaryIO, size: int) -> list[WimImage]:
    """Return the images of the WIM in ``file``, which has ``size`` bytes, in order. Raises NotWim."""
    return parse_images(_xml(file, size))


def _xml(file: BinaryIO, size: int) -> bytes:
    data = file.read(HEADER.size)
    if len(data) < HEADER.size:
        raise NotWim(f"only {len(data)} bytes long, its header alone has {HEADER.size}")
    magic, length, _, _, _, _, part, _, _, _, xml, *_ = HEADER.unpack(data)
    if magic != MAGIC or length < HEADER.size:
        raise NotWim(f"does not begin like a WIM: {data[:8]!r}")
    if part != 1:
        raise NotWim(f"part {part} of a split WIM, not the first")
    packed, offset, original = RESOURCE.unpack(xml)
    stored = packed & (1 << 56) - 1
    if packed >> 56 & COMPRESSED or stored != original:
        raise NotWim("its XML is compressed, which no WIM's is")
    if stored > LARGEST_XML:
        raise NotWim(f"its XML is said to have {stored} bytes")
    if offset < HEADER.size or offset + stored > size:
        raise NotWim(
            f"its XML is said to end at byte {offset + stored}, the file ends at {size}; it is cut short"
        )
    file.seek(offset)
    found = file.read(stored)
    if len(found) < stored:
        raise NotWim(f"its XML ends after {len(found)} of {stored} bytes; it is cut short")
    return found


def parse_images(data: bytes) -> list[WimImage]:
    """Return the images that a WIM's XML describes. Raises NotWim."""
    try:
        text = data.decode("utf-16-le").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise NotWim(f"its XML is not UTF-16: {error.reason}") from error
    if "<!" in text:
        # A document type could define entities, which grow without end; a WIM's XML has none.
        raise NotWim("its XML has a declaration, which no WIM's has")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 (entities are refused above)
    except (ElementTree.ParseError, ValueError) as error:
        raise NotWim(f"its XML is broken: {error}") from error
    images = [image for each in root.findall("IMAGE")[: MOST_IMAGES + 1] if (image := _image(each))]
    if not images:
        raise NotWim("its XML names no image")
    if len(images) > MOST_IMAGES:
        raise NotWim(f"its XML names more than {MOST_IMAGES} images")
    return sorted(images, key=lambda image: image.index)


def _image(element: ElementTree.Element) -> WimImage | None:
    index = _number(element.get("INDEX", ""))
    if not 1 <= index <= 0xFFFF:
        return None
    return WimImage(
        index=index,
        name=_text(element, "NAME"),
        title=_text(element, "DISPLAYNAME"),
        edition=_text(element, "WINDOWS/EDITIONID"),
        installation=_text(element, "WINDOWS/INSTALLATIONTYPE"),
        architecture=ARCHITECTURES.get(_text(element, "WINDOWS/ARCH"), ""),
        build=_number(_text(element, "WINDOWS/VERSION/BUILD")),
        language=_text(element, "WINDOWS/LANGUAGES/DEFAULT"),
    )


def _text(element: ElementTree.Element, path: str) -> str:
    found = (element.findtext(path) or "").strip()[:200]
    return "".join(sign if sign.isprintable() else "?" for sign in found)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def described(image: WimImage) -> str:
    """Return a line for people: ``2: Windows Server 2022 SERVERSTANDARD (ServerStandard, Server, build 20348, en-US)``."""
    facts = [image.edition, image.installation, f"build {image.build}" if image.build else "", image.language]
    return f"{image.index}: {image.name or image.title or 'no name'} ({', '.join(filter(None, facts))})"


def no_images(where: str, reason: str) -> UsageError:
    """Return the error for a medium whose images cannot be read."""
    return UsageError(
        f"{where}: {reason}",
        hint="Compare its SHA-256 with the one its publisher gives; if it differs, fetch it again.",
    )
