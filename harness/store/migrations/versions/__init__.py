# SPDX-License-Identifier: MIT
"""One module a step from one form of the store to the next, in the order of their numbers."""
