# SPDX-License-Identifier: MIT
"""The string tables of a manifest: the targets of ``$(string.ID)``, in each of the manifest's languages."""

from __future__ import annotations

import locale
import re
from collections.abc import Iterator

from harness.choice import closest
from harness.driver.instrumentation import attributes
from harness.driver.instrumentation.model import LocalizedMessage
from harness.driver.instrumentation.source import Element

DEFAULT_CULTURE = "en-US"
LARGEST_TEXT = 0xFFF0 // 2
"""UTF-16 units of the longest message: an entry of a message table has its size in 16 bits."""

_REFERENCE = re.compile(r"\$\(([Ss]tring|[Mm][Cc])\.(.*)\)")
_NUMBERS = {name.replace("_", "-").lower(): number for number, name in locale.windows_locale.items()}
_LANGUAGES = {name.split("-")[0]: number & 0x3FF for name, number in _NUMBERS.items()}
PRIMARY_MASK = 0x3FF


def language(culture: str) -> int | None:
    """Return the language identifier of a culture ("en-US" is 0x409, "en" 0x009), None if Windows has none."""
    return _NUMBERS.get(culture.lower(), _LANGUAGES.get(culture.lower()))


class Strings:
    """The strings of a manifest by id. Texts of Windows' own vocabulary are added on first use."""

    def __init__(self, root: Element) -> None:
        self.cultures: list[str] = []
        self.messages: dict[str, LocalizedMessage] = {}
        self._standard: dict[tuple[str, str], LocalizedMessage] = {}
        for resources in root.grandchildren("localization", "resources"):
            self._read(resources)
        if not self.cultures:
            self.cultures = [DEFAULT_CULTURE]

    def all(self) -> list[LocalizedMessage]:
        """Return every string, used or not."""
        return [*self.messages.values(), *self._standard.values()]

    def find(
        self, element: Element, attribute: str = "message", *, required: bool = False
    ) -> LocalizedMessage | None:
        """Return the string that an attribute refers to, None without the attribute. Raises BadDocument."""
        if attribute not in element.attributes and not required:
            return None
        reference = attributes.text(element, attribute).strip()
        found = _REFERENCE.fullmatch(reference)
        if found is None:
            raise element.error(
                "is not a reference to a string", attribute=attribute, hint='Write message="$(string.ID)".'
            )
        if found[1].lower() == "mc":
            raise element.error(
                "refers to a message file (.mc), which is not read",
                attribute=attribute,
                hint="Put the text into the string table, and write $(string.ID).",
            )
        message = self.messages.get(found[2])
        if message is None or self.cultures[0] not in message.texts:
            near = closest(found[2], self.messages)
            raise element.error(
                f"there is no string {found[2]!r} for {self.cultures[0]}",
                attribute=attribute,
                hint=f'Add <string id="{found[2]}" value="…"/> to the string table of {self.cultures[0]}'
                + (f", or write $(string.{near[0]})." if near else "."),
            )
        return message

    def standard(self, kind: str, name: str, text: str) -> LocalizedMessage:
        """Return the text of one of Windows' definitions, the same object for every provider of the manifest."""
        key = (kind, name)
        if key not in self._standard:
            self._standard[key] = LocalizedMessage(f"win:{name}", dict.fromkeys(self.cultures, text))
        return self._standard[key]

    def _read(self, resources: Element) -> None:
        culture = attributes.text(resources, "culture").strip()
        if language(culture) is None:
            raise resources.error(
                "is not a culture that Windows has a number for",
                attribute="culture",
                hint=f"Write one as en-US or de-DE.{_like(culture)}",
            )
        if culture.lower() in (each.lower() for each in self.cultures):
            raise resources.error(
                "is there twice", attribute="culture", hint="Put its strings into one string table."
            )
        self.cultures.append(culture)
        for string in _strings(resources):
            key = attributes.text(string, "id")
            if "value" not in string.attributes:
                raise string.error("lacks the attribute 'value'", attribute="id", hint='Add value="…".')
            text = string.attributes["value"]
            message = self.messages.setdefault(key, LocalizedMessage(key, {}))
            if culture in message.texts:
                raise string.error(
                    f"there is another string with this id for {culture}",
                    attribute="id",
                    hint="Remove one of the two, or give it another id.",
                )
            if len(text.encode("utf-16-le")) // 2 > LARGEST_TEXT:
                raise string.error(
                    f"its text is longer than {LARGEST_TEXT} characters",
                    attribute="id",
                    hint="Shorten it: a message table cannot hold more.",
                )
            message.texts[culture] = text


def _strings(resources: Element) -> Iterator[Element]:
    for table in resources.children("stringTable"):
        yield from table.children("string")


def _like(culture: str) -> str:
    near = closest(culture.lower(), _NUMBERS)
    return f" Did you mean {near[0]}?" if near else ""
