# SPDX-License-Identifier: MIT
"""Ways into a guest: commands, scripts and files over WinRM, SSH or the QEMU guest agent."""
