# SPDX-License-Identifier: MIT
"""What a guest can do: readiness, driver control, counts."""
