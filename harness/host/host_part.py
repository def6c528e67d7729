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
    """One part: ``found`` describes it, or the fault; ``serves`` is its purpose.

    ``needed`` parts keep the main job from running when they are not ok. ``supply`` is the command to type, "" if none
    helps. ``packages`` are the missing Debian packages.
    """

    name: str
    state: PartState
    found: str
    serves: str
    needed: bool = False
    supply: str = ""
    packages: tuple[str, ...] = ()
