# SPDX-License-Identifier: MIT
"""Benchmarks of the harness itself; ``python -m benchmarks`` runs all of them."""
