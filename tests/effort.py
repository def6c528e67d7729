# SPDX-License-Identifier: MIT
"""How hard the property tests of what reads a guest's bytes try: once in the suite, more often in ``tox -e fuzz``."""

from __future__ import annotations

import os

VARIABLE = "HOTPLUG_HARNESS_FUZZ"
"""Environment variable: how many times the usual number of examples."""


def examples(usual: int) -> int:
    """Return how many examples a property is tried on."""
    return usual * int(os.environ.get(VARIABLE, "1"))
