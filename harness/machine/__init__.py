# SPDX-License-Identifier: MIT
"""One VM from start to end: devices to argv, QMP, accelerator probe, snapshots, shutdown."""
