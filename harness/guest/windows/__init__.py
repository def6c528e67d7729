# SPDX-License-Identifier: MIT
"""Windows as a guest: boots a built template, runs our scripts in it, collects what it has to show."""
