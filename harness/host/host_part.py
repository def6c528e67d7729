# SPDX-License-Identifier: MIT
"""A part of this host, as it was found."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class PartState(StrEnum):
    """How a part was found: ``broken`` is there and unusable."""

    OK = "ok"
    MISSING = "missing"
    BROKEN = "broken"


class HostPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part: ``found`` says what there is, or what is wrong with it; ``serves`` what it is for.

    ``needed`` parts keep the main job from running when they are not ok. ``supply`` is what to type, "" if nothing helps.
    ``packages`` are the Debian packages that are missing.
    """

    name: str
    state: PartState
    found: str
    serves: str
    needed: bool = False
    supply: str = ""
    packages: tuple[str, ...] = ()
