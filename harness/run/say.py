# SPDX-License-Identifier: MIT
"""Lines to the user: the output of a session, the report of a worker."""

from collections.abc import Callable

Say = Callable[[str], None]
"""Prints a line."""
