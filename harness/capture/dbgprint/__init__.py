# SPDX-License-Identifier: MIT
"""DbgPrint text over a serial line: the host side of the KD protocol, as much of it as keeps a target running."""
