# SPDX-License-Identifier: MIT
"""What to hot-add and how it is done: topology, plan, executor."""
