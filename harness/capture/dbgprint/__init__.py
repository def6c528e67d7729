# SPDX-License-Identifier: MIT
"""DbgPrint over the kernel debugger's serial port: a host that listens, acknowledges, and never interferes."""
