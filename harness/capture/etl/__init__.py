# SPDX-License-Identifier: MIT
"""Event Trace Logs (.etl) of Windows, read without Windows. docs/etl.md explains the format as it is read here."""
