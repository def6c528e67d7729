# SPDX-License-Identifier: MIT
"""Repeating a recorded run: the same machine and the same operations, up to any step."""
