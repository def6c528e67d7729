# SPDX-License-Identifier: MIT
"""Thin commands over the rooms."""
