# SPDX-License-Identifier: MIT
"""How a session speaks to its user."""

from collections.abc import Callable

Say = Callable[[str], None]
"""Prints a line."""
