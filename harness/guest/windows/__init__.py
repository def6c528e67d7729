# SPDX-License-Identifier: MIT
"""Windows as a guest: boot a built template, run the harness's scripts in it, collect what it recorded."""
