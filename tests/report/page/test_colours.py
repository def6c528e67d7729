# SPDX-License-Identifier: MIT
"""The colours of marks that share a lane differ for every kind of colour vision, in both themes and on paper.

The matrices are those of Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB. The difference is that of CIE 1976.
"""

from __future__ import annotations

import itertools
import re

import pytest
from report.page.npm_project import SOURCES

VISION = {
    "normal": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}

LANES = (
    ("start", "complete", "failure", "bad"),
    ("operation", "add", "bad"),
    ("holds", "violated", "unknown"),
)
"""Colours that stand in one lane, or for one another. A failed callback has a cross besides, a verdict its word."""

LEAST = 9.0
"""Difference that is seen side by side; 2.3 is just noticeable."""

Colour = tuple[float, ...]


def themes() -> dict[str, dict[str, str]]:
    """Return the palette of each theme: names of colours and their values as ``#rrggbb``."""
    style = (SOURCES / "src" / "report.css").read_text(encoding="utf-8")
    found = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    return dict(zip(("light", "dark", "print"), found, strict=True))


def seen(value: str, vision: str) -> Colour:
    """Return a colour as somebody with this vision sees it, in CIE L*a*b*."""
    parts = [int(value[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    red, green, blue = (
        min(1.0, max(0.0, sum(a * b for a, b in zip(row, linear, strict=True)))) for row in VISION[vision]
    )
    x, y, z = (
        one ** (1 / 3) if one > 0.008856 else 7.787 * one + 16 / 116
        for one in (
            (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
            0.2126 * red + 0.7152 * green + 0.0722 * blue,
            (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
        )
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_marks_of_one_lane_differ_for_every_vision(theme: str, vision: str) -> None:
    """No two colours of a lane are closer than two that everybody tells apart side by side."""
    palette = themes()[theme]
    close = {}
    for lane in LANES:
        for one, other in itertools.combinations(lane, 2):
            pair = zip(seen(palette[one], vision), seen(palette[other], vision), strict=True)
            if (apart := sum((a - b) ** 2 for a, b in pair) ** 0.5) < LEAST:
                close[one, other] = round(apart, 1)
    assert {} == close


def test_the_comparison_sees_two_colours_that_only_some_tell_apart() -> None:
    """Red and olive green are far apart, and nearly the same without red cones' or green cones' help."""
    for vision, least, most in (("normal", 40.0, 200.0), ("deuteranopia", 0.0, 25.0)):
        pair = zip(seen("#b83200", vision), seen("#5a6a00", vision), strict=True)
        assert least <= sum((a - b) ** 2 for a, b in pair) ** 0.5 <= most
