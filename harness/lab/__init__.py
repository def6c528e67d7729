# SPDX-License-Identifier: MIT
"""The host as a lab: nightly runs, the machines that run, and what killed runs left behind."""
