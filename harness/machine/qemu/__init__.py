# SPDX-License-Identifier: MIT
"""A machine that this process starts with QEMU itself."""
