# SPDX-License-Identifier: MIT
"""The host as a lab: what runs on it, what was left behind, and how that goes away."""
