# SPDX-License-Identifier: MIT
"""Set-up: what ``./lab`` does before any other part of the harness can run.

This room uses only the standard library, because it runs on the machine's own Python before any environment
exists.
"""
