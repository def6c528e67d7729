# SPDX-License-Identifier: MIT
"""One VM's life: devices to argv, QMP, accelerator probe, snapshots, shutdown ladder, registry."""
