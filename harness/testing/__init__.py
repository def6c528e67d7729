# SPDX-License-Identifier: MIT
"""The parts of the pytest plugin. They are imported with it, so at module level they import only the standard
library."""
