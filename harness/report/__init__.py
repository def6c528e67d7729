# SPDX-License-Identifier: MIT
"""A history and its verdict, made readable: terminal, and later HTML, trace JSON, JUnit."""
