# SPDX-License-Identifier: MIT
"""The answer file: answers to the questions of Windows Setup (Microsoft Learn: "Answer files (unattend.xml)").

A template's answer file is XML in which some texts are ``${name}``. They are filled in on the parsed tree, so a
value stays text whatever it holds, and never becomes XML. The result is checked against the harness's own table of
settings before it is returned (:mod:`harness.template.components`).
"""

from __future__ import annotations

import os
import re
import secrets
import string
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec

from harness.choice import suggest
from harness.config import read_document
from harness.errors import BadDocument, UsageError, system_errors
from harness.template.components import UNATTEND, WCM, fits, problems
from harness.template.edition import is_evaluation
from harness.template.template import Template, templates_directory
from harness.template.wim import WimImage, described

ANSWER_FILE = "autounattend.xml"
"""Setup looks for this name at the root of every removable medium (Microsoft Learn: "Windows Setup Automation
Overview", implicit answer file search order)."""

COMMON = "windows-common"

ADMINISTRATOR = "Administrator"
"""The built-in account, by its English name in every language (Microsoft Learn: AutoLogon, Username)."""

PASSWORD_LENGTH = 24

PRODUCT_KEY = "pattern [A-Z0-9]{5}(-[A-Z0-9]{5}){4}"
COMPUTER_NAME = "pattern [A-Za-z][A-Za-z0-9-]{0,14}"

_VARIABLE = re.compile(r"\$\{([a-z_]+)\}")


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The values to fill in. ``product_key`` "" leaves the key out, as evaluation media require.

    ``computer_name`` has at most 15 characters, the limit of NetBIOS.
    """

    image_index: int
    language: str
    password: str
    computer_name: str
    product_key: str = ""

    def __repr__(self) -> str:
        """Show no secrets: what is printed may end in a log."""
        return f"Answers(image_index={self.image_index}, language={self.language!r}, …)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show no secrets in a traceback that shows the values of variables."""
        return [("image_index", self.image_index)]


def new_password() -> str:
    """Return a random password that every password policy of Windows accepts: three kinds of characters, 24 in all."""
    kinds = (string.ascii_uppercase, string.ascii_lowercase, string.digits)
    signs = [secrets.choice(kind) for kind in kinds]
    signs += [secrets.choice("".join(kinds)) for _ in range(PASSWORD_LENGTH - len(signs))]
    secrets.SystemRandom().shuffle(signs)
    return "".join(signs)


def answers_for(
    image: WimImage, *, password: str, computer_name: str = "hotplug", product_key: str = ""
) -> Answers:
    """Return the answers for one image of a medium.

    Raises UsageError for an invalid key or name, and for a key to an image that takes none.
    """
    if product_key and is_evaluation(image):
        raise UsageError(
            f"image {described(image)} is for evaluation and takes no product key",
            hint="Build it without a key, or from a medium that is not for evaluation.",
        )
    if product_key and not fits(PRODUCT_KEY, product_key):
        raise UsageError(
            "the product key is not five groups of five letters or digits",
            hint="Write it as AAAAA-BBBBB-CCCCC-DDDDD-EEEEE, in capitals; evaluation media take none.",
        )
    if not fits(COMPUTER_NAME, computer_name):
        raise UsageError(
            f"{computer_name!r} cannot be a computer's name",
            hint="At most 15 letters, digits and hyphens, a letter first.",
        )
    return Answers(
        image_index=image.index,
        language=image.language or "en-US",
        password=password,
        computer_name=computer_name,
        product_key=product_key,
    )


def answer_file(template: Template) -> Path:
    """Return the template's own answer file. Without one, return that of all Windows Servers."""
    own = Path(template.directory) / ANSWER_FILE
    return own if own.is_file() else templates_directory() / COMMON / ANSWER_FILE


def render(template: Template, answers: Answers) -> str:
    """Return the answer file of ``template``, filled in and checked. Raises BadDocument, with no secret in its message."""
    path = answer_file(template)
    name = f"{path.parent.name}/{path.name}"
    text = fill(read_document(path), answers, name=name)
    found = problems(text)
    if found:
        secret = {value for value in (answers.password, answers.product_key) if value}
        told = "\n".join(found[:10])
        for value in secret:
            told = told.replace(value, "…")
        raise BadDocument(f"{name}: not a valid answer file", hint=told)
    return text


def fill(text: str, answers: Answers, *, name: str) -> str:
    """Fill in ``${…}``. An element whose whole text becomes empty is left out.

    Raises BadDocument for broken XML, and for an unknown name.
    """
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 (our own file, or one of a template)
    except ElementTree.ParseError as error:
        raise BadDocument(f"{name}:{error.position[0]}: not XML: {error}") from error
    values = {field: str(getattr(answers, field)) for field in answers.__struct_fields__}

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise BadDocument(f"{name}: no answer is called {match[1]!r}", hint=suggest(match[1], values))
        return values[match[1]]

    for parent in list(root.iter()):
        for element in list(parent):
            before = element.text or ""
            element.text = _VARIABLE.sub(value, before)
            if before.strip() and not element.text.strip() and not len(element):
                parent.remove(element)
    return _document(root)


def _document(root: ElementTree.Element) -> str:
    ElementTree.register_namespace("", UNATTEND)
    ElementTree.register_namespace("wcm", WCM)
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    # Setup expects the namespace wcm where it reads a value. So it stays at the root even if unused.
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read. Raises InfrastructureError if it exists or cannot be written."""
    with system_errors(
        str(path), hint="Free some space, or remove it if it is from an earlier build that is not needed."
    ):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
