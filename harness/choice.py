# SPDX-License-Identifier: MIT
"""Choice: a name from a set of known names, and the hint for an unknown one."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from harness.errors import UsageError


def check_choice(what: str, wanted: str, known: Collection[str]) -> None:
    """Raise UsageError with the known names if ``wanted`` is not one of them."""
    if wanted not in known:
        raise UsageError(f"no {what} is called {wanted!r}", hint=suggest(wanted, known))


def suggest(wanted: str, known: Iterable[str]) -> str:
    """Return the hint for an unknown name: *Did you mean 'slot'? There are: memory, slot.*"""
    names = list(known)
    close = closest(wanted, names)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    return f"{guess}There are: {', '.join(names) or 'none'}."


def closest(wanted: str, known: Iterable[str], count: int = 1) -> list[str]:
    """Return the names most similar to ``wanted``, the most similar first."""
    # Imported here: only an error needs it.
    from difflib import get_close_matches

    return get_close_matches(wanted, list(known), count)
