# SPDX-License-Identifier: MIT
"""Binary XML: a template's fragment, and the identifier that is computed from it.

The tokens are those of MS-EVEN6 2.2.12, with names in the fragment itself. The fragment and the identifier are made from
one small tree: an element with attributes, and either elements, one insert, or a text.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from harness.driver.instrumentation.model import FieldDefinition, TemplateDefinition
from harness.driver.instrumentation.source import Element

FRAGMENT_HEADER = b"\x0f\x01\x01\x00"
END_OF_FRAGMENT, OPEN, CLOSE, END, VALUE, ATTRIBUTE, INSERT = 0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x0D
MORE = 0x40
"""Set in a token: attributes follow the element, or another attribute this one."""

STRING = 1
ARRAY = 0x80
NO_DEPENDENCY = 0xFFFF
_IDENTIFIED = b"MS-WEVT\0"


@dataclass(slots=True)
class Node:
    """An element of a template: ``insert`` is the index of a field, None without one."""

    name: str
    attributes: list[tuple[str, str]]
    children: list[Node] = field(default_factory=list)
    insert: int | None = None
    text: str = ""


def tree(template: TemplateDefinition) -> Node:
    """Return the tree as which an event with this template is rendered."""
    if template.user_data is not None:
        return _from_source(template.user_data)
    root = Node("EventData", [("Name", template.name)] if template.name else [])
    for index, each in enumerate(template.fields):
        name = "Data" if each.members is None else "ComplexData"
        root.children.append(Node(name, [("Name", each.name)], insert=index))
    return root


def value_type(each: FieldDefinition) -> int:
    """Return the type of a field's value: its input type, with the array's flag if it may have several values."""
    return each.in_type | ARRAY if each.count.given else each.in_type


def fragment(root: Node, types: list[int]) -> bytes:
    """Return the fragment, padded to 4 bytes. ``types`` are the value types of the template's fields."""
    made = bytearray(FRAGMENT_HEADER)
    _element(made, root, types)
    made.append(END_OF_FRAGMENT)
    return bytes(made.ljust(-(-len(made) // 4) * 4, b"\0"))


def identifier(root: Node, types: list[int], *, indented: bool) -> bytes:
    """Return the GUID of a template, made from its XML and its types, so that equal templates have equal GUIDs.

    ``indented`` is for XML that the user wrote.
    """
    text = "".join(_written(root, 1 if indented else None)).encode("utf-16-le")
    kinds = b"".join(struct.pack("<I", each) for each in types)
    digest = bytearray(hashlib.sha256(_IDENTIFIED + text + kinds).digest()[:16])
    digest[7] = digest[7] & 0x0F | 0x50
    return bytes(digest)


def _from_source(element: Element) -> Node:
    prefixes = sorted(element.declared.items())
    declared = [(f"xmlns:{prefix}" if prefix else "xmlns", uri) for prefix, uri in prefixes]
    foreign = [(name, value) for _, name, value in element.foreign]
    node = Node(
        f"{element.prefix}:{element.tag}" if element.prefix else element.tag,
        [*declared, *element.attributes.items(), *foreign],
    )
    node.children = [_from_source(each) for each in element.content if isinstance(each, Element)]
    if not node.children:
        text = "".join(each for each in element.content if isinstance(each, str))
        if text.strip().startswith("%"):
            node.insert = int(text.strip()[1:]) - 1
        else:
            node.text = text
    return node


def _written(node: Node, depth: int | None) -> list[str]:
    """Return the identifier's form of the XML: before each element one tab a level of ``depth``, none for None."""
    made = [f"<{node.name}"]
    made += [f' {name}="{escape(value, {chr(34): "&quot;"})}"' for name, value in node.attributes]
    if not node.children and node.insert is None and not node.text:
        return [*made, "/>"]
    made.append(">")
    if node.insert is not None:
        made.append(f"%{node.insert + 1}")
    made.append(escape(node.text))
    inner = None if depth is None else depth + 1
    for child in node.children:
        made += [_margin(inner), *_written(child, inner)]
    if node.children:
        made.append(_margin(depth))
    return [*made, f"</{node.name}>"]


def _margin(depth: int | None) -> str:
    return "" if depth is None else "\r\n" + "\t" * depth


def _element(made: bytearray, node: Node, types: list[int]) -> None:
    made += struct.pack("<BH", OPEN | MORE if node.attributes else OPEN, NO_DEPENDENCY)
    with_size = len(made)
    made += bytes(4)
    made += _name(node.name)
    if node.attributes:
        listed = bytearray()
        for index, (name, value) in enumerate(node.attributes):
            listed.append(ATTRIBUTE if index == len(node.attributes) - 1 else ATTRIBUTE | MORE)
            listed += _name(name) + _text(value)
        made += struct.pack("<I", len(listed)) + listed
    made.append(CLOSE)
    if node.insert is not None:
        made += struct.pack("<BHB", INSERT, node.insert, types[node.insert])
    elif node.text:
        made += _text(node.text)
    for child in node.children:
        _element(made, child, types)
    made.append(END)
    struct.pack_into("<I", made, with_size, len(made) - with_size - 4)


def _name(name: str) -> bytes:
    """Return a name with its hash: base 65599 over the UTF-16 units, in 16 bits."""
    units = name.encode("utf-16-le")
    value = 0
    for (unit,) in struct.iter_unpack("<H", units):
        value = (value * 65599 + unit) & 0xFFFFFFFF
    return struct.pack("<HH", value & 0xFFFF, len(units) // 2) + units + b"\0\0"


def _text(value: str) -> bytes:
    units = value.encode("utf-16-le")
    return struct.pack("<BBH", VALUE, STRING, len(units) // 2) + units
