# SPDX-License-Identifier: MIT
"""Processes that are forked from one that has imported the harness once and has no thread."""
