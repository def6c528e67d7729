# SPDX-License-Identifier: MIT
"""Transports into a guest: commands, scripts and files over WinRM, SSH or the QEMU guest agent."""
