# SPDX-License-Identifier: MIT
"""Values of QEMU's option strings."""

from __future__ import annotations


def value(text: object) -> str:
    """Return ``text`` as one value of a QEMU option string: commas doubled.

    QEMU splits option strings at commas (QEMU: docs/system, "Use ,, to specify a comma").
    """
    return str(text).replace(",", ",,")
