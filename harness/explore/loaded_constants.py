# SPDX-License-Identifier: MIT
"""Hypothesis' look at the constants of the loaded modules, which it takes since 6.131 and has no setting for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

NAME = "_get_local_constants"


def leave_out_constants() -> Callable[[], None]:
    """Have Hypothesis draw no constants of the loaded modules. Return what undoes it.

    It reads the sources of all that are loaded for them, and keeps what it finds in ``.hypothesis`` in the working directory.
    What a seed gives would depend on what else is loaded.
    """
    providers: Any = importlib.import_module("hypothesis.internal.conjecture.providers")
    before = getattr(providers, NAME, None)
    if before is None:
        return lambda: None
    setattr(providers, NAME, providers.Constants)
    return lambda: setattr(providers, NAME, before)
