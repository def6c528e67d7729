# SPDX-License-Identifier: MIT
"""Acceptance: what a guest is put through before its verdicts are believed, written once for the twin and for Windows."""
