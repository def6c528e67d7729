# SPDX-License-Identifier: MIT
"""What one pass over a history keeps: processors, registrations, attempts, devices, losses."""
