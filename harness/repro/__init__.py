# SPDX-License-Identifier: MIT
"""Going back to a run: the same machine and the same operations again, as far as one wants."""
