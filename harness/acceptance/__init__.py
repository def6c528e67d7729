# SPDX-License-Identifier: MIT
"""Acceptance: the cases that a guest must pass before its verdicts are trusted, written once for the twin and
for Windows."""
