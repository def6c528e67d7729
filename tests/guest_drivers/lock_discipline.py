# SPDX-License-Identifier: MIT
"""Finds uses of what a spin lock guards, outside that lock, in the text of the driver's sources.

ThreadSanitizer misses some of them: the log's lock orders the same threads right before and after.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

GUARDED = {
    "Sync->Lock": r"\b[Ss]ync->Processors\[|\bprocessor->Running\b",
    "Veto->Lock": r"\bVeto->(?:Remaining|Status)\b",
    "Buffer->Lock": r"\b[Bb]uffer(?:->|\.)(?:Memory|Bytes)\b",
}
"""The lock, as the code names it, and what may be used only while it is held."""

BEFORE_ANYONE_ELSE = {"HpnVetoInitialize", "HpnBufferInitialize"}
"""Functions that run before another thread can use the structure."""

FUNCTION = re.compile(
    r"^(?P<name>Hpn\w+)\(\n(?P<head>[^{]*?)\n\{\n(?P<body>.*?)^\}$", re.MULTILINE | re.DOTALL
)
LOCK = re.compile(r"Ke(?P<act>Acquire|Release)SpinLock\(&(?P<lock>[\w>.-]+),")
HELD = re.compile(r"_Requires_lock_held_\((?P<lock>[\w>.-]+)\)\n(?:[^\n;{}]+\n){0,3}?(?P<name>Hpn\w+)\(")


def _same(lock: str) -> str:
    """Return a lock's name without the difference between a parameter and a variable."""
    return lock.replace("sync->", "Sync->")


def unguarded(text: str) -> Iterator[str]:
    """Yield ``FUNCTION: LINE`` for each line that uses what a lock guards while the function does not hold it.

    A function that its declaration marks ``_Requires_lock_held_(LOCK)`` holds that lock throughout, and a call of it is
    such a use.
    """
    called_with = {found["name"]: _same(found["lock"]) for found in HELD.finditer(text)}
    guarded = [*GUARDED.items(), *((lock, rf"\b{name}\(") for name, lock in called_with.items())]
    for function in FUNCTION.finditer(text):
        if function["name"] in BEFORE_ANYONE_ELSE:
            continue
        held = {called_with[function["name"]]} if function["name"] in called_with else set()
        for line in function["body"].splitlines():
            if found := LOCK.search(line):
                lock = _same(found["lock"])
                held = held | {lock} if found["act"] == "Acquire" else held - {lock}
                continue
            for lock, use in guarded:
                if lock not in held and re.search(use, re.sub(r"sizeof\([^)]*\)", "", line)):
                    yield f"{function['name']}: {line.strip()}"
