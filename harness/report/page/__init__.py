# SPDX-License-Identifier: MIT
"""The report that people show each other: one HTML file of a run, and the same timeline as a Perfetto trace."""
