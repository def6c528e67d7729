# SPDX-License-Identifier: MIT
"""The attributes of an element, read by their types in the manifest's schema.

Each reader raises BadDocument for a value that the schema does not allow (W32:WES/eventmanifestschema-simple-types.md).
"""

from __future__ import annotations

import re
import uuid
from typing import NamedTuple

from harness.driver.instrumentation.source import Element, choices
from harness.driver.instrumentation.vocabulary import WIN, XS
from harness.errors import BadDocument

_GUID = re.compile(r"\{[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\}")
_SYMBOL = re.compile(r"([_a-zA-Z][_0-9a-zA-Z]*)?")
_NAME = re.compile(r"(?:([^\W\d][\w.\-]*):)?([^\W\d][\w.\-]*)")
_DECIMAL = re.compile(r"\+?[0-9]{1,20}")
_HEXADECIMAL = re.compile(r"0[xX]([0-9a-fA-F]{1,16})")
LONGEST = 0x7FFF
"""Characters of the longest name: the resources hold its length in 16 bits."""

FORBIDDEN = "><&\"|\\:'?*"
"""Characters that a provider's or channel's name cannot have, besides control characters."""

NAMESPACES = {"win": WIN, "xs": XS}
"""The namespaces that manifests need, by their customary prefixes."""

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class QName(NamedTuple):
    """A qualified name: its namespace ("" for none), its local name, and the prefix in the manifest."""

    namespace: str
    local: str
    prefix: str = ""

    @property
    def shown(self) -> str:
        """The name in the form of the resources."""
        return f"{self.prefix}:{self.local}" if self.prefix else self.local

    @property
    def key(self) -> tuple[str, str]:
        """The key by which names are compared."""
        return self.namespace, self.local


def check_names(element: Element, allowed: frozenset[str], children: frozenset[str]) -> None:
    """Raise BadDocument if the element has an attribute, or a child of the manifest's namespaces, that is not allowed."""
    for name in element.attributes:
        if name not in allowed:
            raise element.error(
                f"has no attribute {name!r}", attribute=name, hint=choices(name, sorted(allowed))
            )
    for child in element.children():
        if child.tag not in children:
            raise child.error(
                f"does not belong in <{element.tag}>", hint=choices(child.tag, sorted(children))
            )


def text(element: Element, name: str) -> str:
    """Return a required, non-empty attribute."""
    value = element.attributes.get(name)
    if value is None:
        raise element.error(f"lacks the attribute {name!r}", hint=f'Add {name}="…".')
    if not value.strip():
        raise element.error(f"{name!r} is empty", attribute=name, hint=f"Give {name} a value.")
    if len(value) > LONGEST:
        raise element.error(
            f"{name!r} has more than {LONGEST} characters", attribute=name, hint="Shorten it."
        )
    return value


def token(element: Element, name: str) -> str:
    """Return an optional attribute with its white space collapsed, "" without it."""
    return " ".join(element.attributes.get(name, "").split())


def optional_token(element: Element, name: str) -> str:
    """Return an optional attribute like :func:`token`. Raises BadDocument if it exists and is empty."""
    value = token(element, name)
    if not value and name in element.attributes:
        raise element.error(f"{name!r} is empty", attribute=name, hint=f"Give {name} a value, or remove it.")
    return value


def number(element: Element, name: str, bits: int, *, default: int | None = None) -> int:
    """Return an unsigned number of ``bits`` bits, decimal or hexadecimal. Without a default it is required."""
    if default is not None and name not in element.attributes:
        return default
    value = text(element, name).strip()
    largest = (1 << bits) - 1
    hexadecimal = _HEXADECIMAL.fullmatch(value)
    if hexadecimal and len(hexadecimal[1]) <= bits // 4:
        return int(hexadecimal[1], 16)
    if _DECIMAL.fullmatch(value) and int(value) <= largest:
        return int(value)
    raise _not_a_number(element, name, f"is not a number from 0 to {largest} ({largest:#x})")


def mask(element: Element, name: str, bits: int) -> int:
    """Return a required number of ``bits`` bits, written in hexadecimal."""
    found = _HEXADECIMAL.fullmatch(text(element, name).strip())
    if found is None or len(found[1]) > bits // 4:
        raise _not_a_number(element, name, f"is not a hexadecimal number of at most {bits // 4} digits")
    return int(found[1], 16)


def ranged(element: Element, name: str, bits: int, low: int, high: int) -> int:
    """Return a required number from ``low`` to ``high``, the range for providers. Windows uses the others."""
    value = number(element, name, bits)
    if not low <= value <= high:
        raise element.error(
            f"{value} is reserved: a provider's own {element.tag} has a value from {low} to {high}",
            attribute=name,
            hint=f"Take a value from {low} to {high}, or use what Windows defines by its name, win:….",
        )
    return value


def flag(element: Element, name: str) -> bool:
    """Return an optional boolean, False without it."""
    value = token(element, name) if name in element.attributes else "false"
    if value not in _BOOLEANS:
        raise element.error("is neither true nor false", attribute=name, hint="Write true, false, 1 or 0.")
    return _BOOLEANS[value]


def guid(element: Element, name: str) -> bytes:
    """Return an optional GUID in Windows' layout, b"" without it or for the GUID of zeros."""
    if name not in element.attributes:
        return b""
    value = element.attributes[name].strip()
    if not _GUID.fullmatch(value):
        raise element.error(
            "is not a GUID in registry form",
            attribute=name,
            hint="Write it in braces: {5b2fc63a-8af4-44cb-960c-aefdced908d6}.",
        )
    found = uuid.UUID(value)
    return found.bytes_le if found.int else b""


def symbol(element: Element) -> str:
    """Return the symbol for C, "" without one."""
    value = element.attributes.get("symbol", "")
    if not _SYMBOL.fullmatch(value):
        raise element.error(
            "is not a symbol of C",
            attribute="symbol",
            hint="A symbol has letters, digits and _ and does not begin with a digit.",
        )
    return value


def qualified(element: Element, name: str) -> QName:
    """Return a required attribute that is a qualified name."""
    return _resolve(element, name, text(element, name).strip())


def qualified_or_none(element: Element, name: str) -> QName | None:
    """Return an optional attribute that is a qualified name."""
    return qualified(element, name) if name in element.attributes else None


def qualified_list(element: Element, name: str) -> list[QName]:
    """Return the qualified names of an optional attribute, separated by white space."""
    return [_resolve(element, name, word) for word in element.attributes.get(name, "").split()]


def _resolve(element: Element, name: str, value: str) -> QName:
    found = _NAME.fullmatch(value)
    if found is None:
        raise element.error(
            f"{value!r} is not a name",
            attribute=name,
            hint="A name begins with a letter or _ and continues with letters, digits, '.', '-' and _.",
        )
    prefix = found[1] or ""
    if prefix and prefix not in element.prefixes:
        declared = sorted(each for each in element.prefixes if each)
        near = f"{choices(prefix, declared)} " if declared else ""
        raise element.error(
            f"no namespace has the prefix {prefix!r}",
            attribute=name,
            hint=f'{near}Declare it on the root element: xmlns:{prefix}="{NAMESPACES.get(prefix, "…")}".',
        )
    return QName(element.prefixes[prefix] if prefix else "", found[2], prefix)


def _not_a_number(element: Element, name: str, what: str) -> BadDocument:
    return element.error(
        what, attribute=name, hint="Write a decimal number, or a hexadecimal one that begins with 0x."
    )


def resource_name(element: Element, what: str, longest: int) -> str:
    """Return the attribute ``name``, Windows' name of ``what`` ("a channel"). Raises BadDocument."""
    name = text(element, "name")
    if len(name) > longest or any(each in FORBIDDEN or each < " " for each in name):
        raise element.error(
            f"is not a name of {what}",
            attribute="name",
            hint=f"It has up to {longest} characters, none of them {FORBIDDEN}",
        )
    return name
