# SPDX-License-Identifier: MIT
"""The queries that the store answers, one module each: a struct for programs, and its tables for people."""
