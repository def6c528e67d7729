# SPDX-License-Identifier: MIT
"""A machine that libvirt starts, on this host or a remote one."""
