# SPDX-License-Identifier: MIT
"""The table of settings catches every small mistake in every element of every answer file."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from harness.template.components import BASE, UNATTEND, WCM, fits, problems, problems_of, table
from harness.template.template import find_templates
from tests.template.test_answer import rendered

SERVER = find_templates()["windows-server-2022"]
CLIENT = find_templates()["windows-11"]
FILES = {
    each.name: rendered(each, each.editions[0], "AAAAA-BBBBB-CCCCC-DDDDD-12345") for each in (SERVER, CLIENT)
}

Mutation = Callable[[Element, Element], bool]
"""Changes an element in its parent; False if there is nothing of that kind to change in it."""


def tag(name: str) -> str:
    """A name with the namespace of answer files."""
    return f"{{{UNATTEND}}}{name}"


def renamed(parent: Element, element: Element) -> bool:
    """Another name."""
    element.tag += "s"
    return True


def without_namespace(parent: Element, element: Element) -> bool:
    """The name alone, of no or another namespace."""
    element.tag = element.tag.partition("}")[2]
    return True


def doubled(parent: Element, element: Element) -> bool:
    """Twice in a row; a second item of a list is wrong by its number, and one more image to install by nothing."""
    if element.tag == tag("MetaData") or element.tag == tag("Disk"):
        return False
    parent.insert(list(parent).index(element), copy.deepcopy(element))
    return True


def last_first(parent: Element, element: Element) -> bool:
    """Before all its siblings."""
    if list(parent).index(element) == 0:
        return False
    parent.remove(element)
    parent.insert(0, element)
    return True


def emptied(parent: Element, element: Element) -> bool:
    """With nothing in it."""
    if not element.text or element.get("pass") or element.get("name"):
        return False
    if not any(child.tag for child in element) and not element.text.strip():
        return False
    element.text = ""
    had = list(element)
    for child in had:
        element.remove(child)
    return True


def odd_value(parent: Element, element: Element) -> bool:
    """A value that nothing takes."""
    if len(element):
        return False
    element.text = "\u0007" + "x" * 2000
    element.text = element.text.replace("\u0007", "\t")
    return True


def elements_for_a_value(parent: Element, element: Element) -> bool:
    """An element where a value belongs."""
    if len(element):
        return False
    ElementTree.SubElement(element, tag("Value")).text = "1"
    return True


def text_for_elements(parent: Element, element: Element) -> bool:
    """A value where elements belong."""
    if not len(element) or element.get("pass"):
        return False
    element.text = "value"
    return True


def other_attributes(parent: Element, element: Element) -> bool:
    """An attribute too many."""
    element.set(f"{{{WCM}}}keyValue", "1")
    return True


def removed_attribute(parent: Element, element: Element) -> bool:
    """Without its first attribute."""
    if not element.attrib:
        return False
    del element.attrib[next(iter(element.attrib))]
    return True


def in_another_pass(parent: Element, element: Element) -> bool:
    """A component in a pass that it has nothing to say in."""
    if element.tag != tag("settings"):
        return False
    passes = ["windowsPE", "specialize", "oobeSystem"]
    element.set("pass", passes[(passes.index(element.get("pass", "")) + 1) % 3])
    return True


def in_an_unused_pass(parent: Element, element: Element) -> bool:
    """A pass of Windows that we do not use."""
    if element.tag != tag("settings"):
        return False
    element.set("pass", "auditUser")
    return True


def in_its_grandparent(parent: Element, element: Element) -> bool:
    """One place further out, where it is not known."""
    if element.tag in (tag("settings"), tag("component")):
        return False
    parent.remove(element)
    parent.text = (parent.text or "") if len(parent) else "x"
    holder = ElementTree.SubElement(parent, tag("Elsewhere"))
    holder.append(element)
    return True


MUTATIONS = [
    renamed, without_namespace, doubled, last_first, emptied, odd_value, elements_for_a_value, text_for_elements,
    other_attributes, removed_attribute, in_another_pass, in_an_unused_pass, in_its_grandparent,
]  # fmt: skip


def pairs(root: Element) -> Iterator[tuple[Element, Element]]:
    """Every element with its parent, in document order."""
    for parent in root.iter():
        for element in parent:
            yield parent, element


def every_element() -> Iterator[tuple[Element, Element, Element]]:
    """A copy of an answer file, an element of it and its parent, for each element that any of them has."""
    seen = set()
    for text in FILES.values():
        original = ElementTree.fromstring(text)
        fresh = ElementTree.fromstring(text)
        above: dict[Element, tuple[str, ...]] = {original: ()}
        for place, (parent, element) in enumerate(pairs(original)):
            name = element.tag + element.get("name", "") + element.get("pass", "")
            above[element] = (*above[parent], name)
            path = (*above[element], element.text, element.findtext(tag("Order")))
            if path not in seen:
                seen.add(path)
                yield (fresh, *list(pairs(fresh))[place])
                fresh = ElementTree.fromstring(text)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.__name__)
def test_every_mutation_of_every_element_is_caught(mutation: Mutation) -> None:
    """Each element in turn is changed in one way, and the table says so."""
    unnoticed, made = [], 0
    for root, parent, element in every_element():
        before = element.tag
        if mutation(parent, element):
            made += 1
            if not problems_of(root):
                unnoticed.append(f"{parent.tag}/{before}".replace(f"{{{UNATTEND}}}", ""))
    assert made > 0
    assert [] == unnoticed


REQUIRED_NOT = {
    "Extend", "Size", "Format", "Label", "Letter", "Description", "FullName", "Organization", "Key", "HideLocalAccountScreen",
    "HideOEMRegistrationScreen", "HideOnlineAccountScreens", "HideWirelessSetupInOOBE", "SkipMachineOOBE", "SkipUserOOBE",
}  # fmt: skip


LISTS = {"CreatePartition", "ModifyPartition", "SynchronousCommand", "RunSynchronousCommand"}
"""Of these the last may be left out: their numbers stay in order."""


def test_what_is_missing_is_noticed() -> None:
    """Every element that Setup would ask for otherwise."""
    unnoticed = set()
    for root, parent, element in every_element():
        parent.remove(element)
        if not problems_of(root):
            unnoticed.add(element.tag.partition("}")[2])
    assert REQUIRED_NOT | LISTS == unnoticed


def test_every_setting_is_used() -> None:
    """The table holds nothing that no answer file uses."""
    used = set()
    for text in FILES.values():
        for settings in ElementTree.fromstring(text):
            for component in settings:
                for path in _paths(component, ""):
                    used.add((component.get("name"), path))
    table_of = {(each.name, setting.path) for each in table().components for setting in each.elements}
    assert table_of == used


def _paths(element: Element, path: str) -> Iterator[str]:
    for child in element:
        here = f"{path}/{child.tag.partition('}')[2]}".lstrip("/")
        yield here
        yield from _paths(child, here)


def test_every_page_is_named() -> None:
    """Every component and setting has the page that it is from, and kinds of values are known."""
    assert BASE.startswith("https://learn.microsoft.com/")
    for component in table().components:
        assert component.page == component.name.lower()
        for setting in component.elements:
            assert setting.page.startswith(component.page)
            assert not setting.value or fits(setting.value, "x") in (True, False)
            assert setting.parent == "" or any(each.path == setting.parent for each in component.elements)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("boolean", ["true", "false"], ["True", "1", "", "true "]),
        ("integer 1 500", ["1", "500"], ["0", "501", "-1", "1.0", " 1", "", "9" * 50, "\u0661"]),
        ("choice A B", ["A", "B"], ["C", "", "A B"]),
        ("pattern [a-c]+", ["abc"], ["abd", "", "abc\n"]),
        ("text 4", ["a", "abcd", "a b"], ["", "abcde", " a", "a\n", "a\tb"]),
    ],
)
def test_kinds_of_values(kind: str, good: list[str], bad: list[str]) -> None:
    """What each kind takes, and what it does not."""
    assert (good, []) == (
        [text for text in good if fits(kind, text)],
        [text for text in bad if fits(kind, text)],
    )


def test_an_unknown_kind() -> None:
    """The table itself must be right."""
    with pytest.raises(ValueError, match="unknown kind of value 'number'"):
        fits("number", "1")


@pytest.mark.parametrize("text", ["", "<a", "<a/>", f'<unattend xmlns="{UNATTEND}"/>'])
def test_what_is_no_answer_file(text: str) -> None:
    """It is told so."""
    assert problems(text)
