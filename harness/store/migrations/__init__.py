# SPDX-License-Identifier: MIT
"""Alembic's migrations of the result store."""
