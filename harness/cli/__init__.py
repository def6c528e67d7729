# SPDX-License-Identifier: MIT
"""The commands: a thin layer over the other rooms."""
