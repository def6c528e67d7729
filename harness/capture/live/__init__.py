# SPDX-License-Identifier: MIT
"""Channels that are read while the guest runs."""
