# SPDX-License-Identifier: MIT
"""The result store: a database that indexes run directories and nightly runs, and the queries that it answers."""
