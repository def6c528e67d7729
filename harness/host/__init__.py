# SPDX-License-Identifier: MIT
"""The host that runs machines: its budget and leases, its registry of machines, its parts."""
