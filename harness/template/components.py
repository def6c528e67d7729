# SPDX-License-Identifier: MIT
"""The settings of an answer file: each setting that the harness uses, its place and its values; and a check against them.

The published schema of answer files checks only their frame: a component may hold any XML. Setup itself silently ignores
settings that it does not know, and then asks a question that has no answer. So the table in ``components.toml`` has
the rest, each line with the page that it is from. Every answer file is checked against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import msgspec

from harness.config import decode_toml, read_document

UNATTEND = "urn:schemas-microsoft-com:unattend"
WCM = "http://schemas.microsoft.com/WMIConfig/2002/State"
PASSES = ("windowsPE", "specialize", "oobeSystem")
"""The passes that the harness uses, in their order (Microsoft Learn: "How Configuration Passes Work")."""

IDENTITY = {
    "processorArchitecture": "amd64",
    "publicKeyToken": "31bf3856ad364e35",
    "language": "neutral",
    "versionScope": "nonSxS",
}
"""Attributes of every component (Microsoft Learn: "Unattend component")."""

BASE = "https://learn.microsoft.com/windows-hardware/customize/desktop/unattend/"

TABLE = Path(__file__).with_name("components.toml")


class AnswerSetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One element of a component: ``path`` from the component, ``value`` "" if it holds other elements. See ``components.toml``."""

    path: str
    page: str
    value: str = ""
    list: bool = False
    numbered: bool = False
    required: bool = False

    @property
    def parent(self) -> str:
        """Path of its parent element, "" for the component itself."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Name of the element."""
        return self.path.rpartition("/")[2]


class Component(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One component in the passes in which it has the same meaning."""

    name: str
    passes: list[str]
    page: str
    elements: list[AnswerSetting]

    def settings(self, parent: str) -> list[AnswerSetting]:
        """Return the settings that ``parent`` may hold, in order."""
        return [setting for setting in self.elements if setting.parent == parent]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole table."""

    components: list[Component]

    def component(self, name: str, configuration_pass: str) -> Component | None:
        """Return the component called ``name`` as defined in that pass."""
        for component in self.components:
            if component.name == name and configuration_pass in component.passes:
                return component
        return None


@cache
def table() -> Table:
    """Return the table that comes with the harness."""
    return decode_toml(read_document(TABLE), Table, name=TABLE.name)


def problems(text: str) -> list[str]:
    """Return what is wrong with an answer file, each with its place; [] for one that matches the table."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 (our own file, or one of a template)
    except ElementTree.ParseError as error:
        return [f"not XML: {error}"]
    return problems_of(root)


def problems_of(root: Element) -> list[str]:
    """Return what is wrong with an answer file that has been parsed."""
    return list(_document(root))


def _document(root: Element) -> Iterator[str]:
    if root.tag != f"{{{UNATTEND}}}unattend":
        yield f"the root is {_plain(root)!r}, not unattend"
        return
    seen = []
    for settings in root:
        configuration_pass = settings.get("pass", "")
        if settings.tag != f"{{{UNATTEND}}}settings" or set(settings.attrib) != {"pass"}:
            yield f"{_plain(settings)!r} stands where settings of a pass belong"
        elif configuration_pass not in PASSES:
            yield f"the harness uses no pass {configuration_pass!r}"
        else:
            seen.append(configuration_pass)
            yield from _settings(settings, configuration_pass)
    if seen != list(PASSES):
        yield f"the passes are {seen}, not {list(PASSES)}"


def _settings(settings: Element, configuration_pass: str) -> Iterator[str]:
    places = []
    for element in settings:
        name = element.get("name", "")
        where = f"{configuration_pass}: {name or _plain(element)}"
        component = table().component(name, configuration_pass)
        if element.tag != f"{{{UNATTEND}}}component" or component is None:
            yield f"{where}: no component of this pass"
            continue
        place = table().components.index(component)
        places.append(place)
        if {key: value for key, value in element.attrib.items() if key != "name"} != IDENTITY:
            yield f"{where}: its attributes are not those of every component"
        yield from _children(element, place, "", where)
    wanted = [
        place for place, component in enumerate(table().components) if configuration_pass in component.passes
    ]
    if places != wanted:
        names = ", ".join(table().components[place].name for place in wanted)
        yield f"{configuration_pass}: its components are not {names}, each once and in this order"


def _children(parent: Element, component: int, path: str, where: str) -> Iterator[str]:
    allowed = _allowed(component, path)
    if (parent.text or "").strip():
        yield f"{where}: holds the text {parent.text!r}, and should hold elements"
    order = list(allowed)
    last = -1
    for element in parent:
        setting = allowed.get(element.tag)
        here = f"{where}/{_plain(element)}"
        if setting is None:
            yield f"{here}: not known here"
            continue
        place = order.index(element.tag)
        if place < last or (place == last and not setting.list):
            yield f"{here}: out of order, or twice"
        last = max(last, place)
        attributes = {f"{{{WCM}}}action": "add"} if setting.list else {}
        if element.attrib != attributes:
            yield f"{here}: its attributes are {element.attrib}, not {attributes}"
        if (element.tail or "").strip():
            yield f"{here}: text after it"
        if setting.value:
            yield from _value(element, setting, here)
        else:
            yield from _children(element, component, setting.path, here)
    yield from _missing(parent, allowed, where)


@cache
def _allowed(component: int, path: str) -> dict[str, AnswerSetting]:
    """Return the settings that an element may hold, by their tags, in order."""
    settings = table().components[component].settings(path)
    return {f"{{{UNATTEND}}}{setting.name}": setting for setting in settings}


def _missing(parent: Element, allowed: dict[str, AnswerSetting], where: str) -> Iterator[str]:
    for tag, setting in allowed.items():
        found = parent.findall(tag)
        if setting.required and not found:
            yield f"{where}/{setting.name}: missing"
        if setting.numbered:
            numbers = [each.findtext(f"{{{UNATTEND}}}Order") for each in found]
            if numbers != [str(number) for number in range(1, len(found) + 1)]:
                yield f"{where}/{setting.name}: Order counts {numbers}, not from 1 without gaps"


def _value(element: Element, setting: AnswerSetting, where: str) -> Iterator[str]:
    if len(element):
        yield f"{where}: holds elements, and should hold a value"
    elif not fits(setting.value, element.text or ""):
        yield f"{where}: {element.text!r} is not a {setting.value}"


def fits(kind: str, text: str) -> bool:
    """Return whether ``text`` is a value of ``kind``: boolean, integer LOW HIGH, choice A B, pattern REGEX, or text LONGEST."""
    word, _, rest = kind.partition(" ")
    if word == "boolean":
        return text in ("true", "false")
    if word == "integer":
        low, high = map(int, rest.split())
        return text.isascii() and text.isdigit() and len(text) <= 10 and low <= int(text) <= high
    if word == "choice":
        return text in rest.split()
    if word == "pattern":
        return re.fullmatch(rest, text) is not None
    if word == "text":
        return 0 < len(text) <= int(rest) and text.isprintable() and text == text.strip()
    raise ValueError(f"{TABLE.name}: unknown kind of value {kind!r}")


def _plain(element: Element) -> str:
    return element.tag.rpartition("}")[2]
