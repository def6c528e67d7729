# SPDX-License-Identifier: MIT
"""Set-up: what ``./lab`` does before anything else of the harness can run.

This room uses the standard library only, because it runs on the machine's own Python before any environment exists.
"""
