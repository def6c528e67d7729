# SPDX-License-Identifier: MIT
"""The driver as a file: cross-building it on Linux, signing it for tests, checking what a linker can get wrong."""
