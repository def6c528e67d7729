# SPDX-License-Identifier: MIT
"""Channels that are read after a run, and their place among the host's records."""
