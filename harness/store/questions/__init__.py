# SPDX-License-Identifier: MIT
"""The questions that the store answers, one module a question: a struct for programs, and its tables for people."""
