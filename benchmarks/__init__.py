# SPDX-License-Identifier: MIT
"""Measurements of the harness itself; ``python -m benchmarks`` runs them all."""
