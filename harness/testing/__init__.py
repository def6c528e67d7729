# SPDX-License-Identifier: MIT
"""What the pytest plugin is made of. Imported with it, so nothing here imports more than the standard library on top."""
