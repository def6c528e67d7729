# SPDX-License-Identifier: MIT
"""The output of a session to its user."""

from collections.abc import Callable

Say = Callable[[str], None]
"""Prints a line."""
