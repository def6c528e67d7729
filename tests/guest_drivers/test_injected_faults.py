# SPDX-License-Identifier: MIT
"""The faults that the harness offers are those that the NT layer has, and all of them are in one file."""

from __future__ import annotations

import re
from pathlib import Path

from harness.guest.fault_injection import INJECTED_FAULTS

DRIVER = Path(__file__).parents[2] / "guest_drivers" / "hpnotify"


def test_same_names() -> None:
    """Every fault that can be injected exists, and every one that exists can be injected."""
    source = (DRIVER / "nt" / "core" / "plants.c").read_text()
    assert {"none", *INJECTED_FAULTS} == set(re.findall(r'\.name = "([a-z-]+)"', source))


def test_one_place() -> None:
    """No other source of the driver or its hosts knows a fault by name."""
    names = re.compile("|".join(INJECTED_FAULTS))
    others = [path for path in DRIVER.rglob("*.[ch]") if path.name != "plants.c"]
    assert len(others) > 30
    assert [] == [path.name for path in others if names.search(path.read_text())]


def test_driver_sees_no_host() -> None:
    """The driver's source has no conditional per host and includes only Windows' headers and its own.

    ``#ifdef ALLOC_PRAGMA`` is the compiler's, as in Microsoft's samples (Microsoft Learn: "Making Drivers Pageable").
    """
    allowed = {"ntddk.h", "wdf.h", "initguid.h", "poclass.h", "wdmguid.h"}
    own = {path.name for path in (DRIVER / "src").glob("*.h")}
    for path in (DRIVER / "src").glob("*.[ch]"):
        text = path.read_text()
        assert set() == set(re.findall(r'#include [<"]([^>"]+)[>"]', text)) - allowed - own
        conditions = re.findall(r"#\s*(?:if|ifdef|ifndef|elif)\b.*", text)
        assert [] == [
            line
            for line in conditions
            if not re.fullmatch(r"#ifndef HPNOTIFY_?\w*H|#ifdef ALLOC_PRAGMA", line)
        ]
