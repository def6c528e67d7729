# SPDX-License-Identifier: MIT
"""The twin: a Linux guest that runs the driver's own source in ring 0."""
