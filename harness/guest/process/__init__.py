# SPDX-License-Identifier: MIT
"""Guests whose machine is a process: the driver runs on a double of the NT kernel, or under Wine."""
