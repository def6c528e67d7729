# SPDX-License-Identifier: MIT
"""Exploration: generated plans, what they exercised, and the smallest plan that shows a violation."""
