# SPDX-License-Identifier: MIT
"""The rules, one module for each section of the contract."""
