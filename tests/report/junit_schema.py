# SPDX-License-Identifier: MIT
"""The schema of the JUnit XML that this project writes: what GitLab and Jenkins document, each attribute with its source."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Container
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xmlschema

SCHEMA = Path(__file__).with_name("junit.xsd")

COUNTS = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}


@cache
def _schema() -> xmlschema.XMLSchema:
    # Loaded where it is used: every process of the suite collects the tests of JUnit XML.
    import xmlschema

    return xmlschema.XMLSchema(SCHEMA)


def checked(document: bytes, suites: Container[int] | None = None) -> ET.Element:
    """Return the document as a reader sees it. Raises if it is not of the schema, or if its counts and times are wrong.

    Of many suites, which take long, only those at the given places are compared with the schema.
    """
    root = ET.fromstring(document)
    compared = ET.Element(root.tag, root.attrib)
    compared.extend(one for place, one in enumerate(root) if suites is None or place in suites)
    _schema().validate(compared)
    for scope in (root, *root):
        for name, tag in COUNTS.items():
            if scope.get(name) is not None:
                assert str(len(list(scope.iter(tag)))) == scope.get(name)
    total = sum(float(suite.get("time", "")) for suite in root)
    assert abs(total - float(root.get("time", ""))) <= 0.001 * (1 + len(root))
    return root


def names(root: ET.Element) -> list[tuple[str, str, str]]:
    """Return the name of each suite with class and name of each of its cases, in the order of the document."""
    return [
        (suite.attrib["name"], case.attrib["classname"], case.attrib["name"])
        for suite in root
        for case in suite.iter("testcase")
    ]


def outcome(root: ET.Element, name: str, suite: int = 0) -> str:
    """Return what came of the test case ``name``: the tag of its only child, "" if it passed in silence, "absent"."""
    for case in root[suite].iter("testcase"):
        if case.get("name") == name:
            return case[0].tag if len(case) else ""
    return "absent"
