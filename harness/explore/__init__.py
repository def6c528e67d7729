# SPDX-License-Identifier: MIT
"""Exploration: generated plans, what they exercised, and the smallest one that shows a violation."""
