# SPDX-License-Identifier: MIT
"""Hot-adds vCPUs and DIMMs to guests under QEMU and judges the driver notifications they cause."""

__version__ = "0.1.0"
