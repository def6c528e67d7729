# SPDX-License-Identifier: MIT
"""One module for each step from one format of the store to the next, in the order of their numbers."""
