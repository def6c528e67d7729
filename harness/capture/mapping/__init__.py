# SPDX-License-Identifier: MIT
"""A driver's own trace events as the harness's records, by a driver map."""
