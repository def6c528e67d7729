# SPDX-License-Identifier: MIT
"""How far a guest is supported, and what it is expected to do with hardware that is added while it runs."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["supported", "known-broken", "client-negative"]


class Support(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``status`` with its ``reason``, the ``link`` that tells of it, and a ``workaround`` if one is known.

    supported: hot-add is documented to work. known-broken: it is documented or reported not to, and ``reason`` says
    why. client-negative: the guest is there for contrast, since it must *not* take a processor while it runs.
    """

    status: Status
    reason: str = ""
    link: str = ""
    workaround: str = ""


class HotAddSupport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What follows a hot-add in this guest: taken ``in-place``, only ``after-restart``, or ``unknown`` (no source says).

    ``source`` is the page that says so.
    """

    processor: Literal["in-place", "after-restart", "unknown"]
    memory: Literal["in-place", "after-restart", "unknown"]
    source: str
