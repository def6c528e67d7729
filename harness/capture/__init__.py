# SPDX-License-Identifier: MIT
"""Byte streams from a guest become records, with their losses known."""
