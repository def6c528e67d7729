# SPDX-License-Identifier: MIT
"""The history: everything observed in a run, one append-only file of records, and the run directory around it."""
