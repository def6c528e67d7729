# SPDX-License-Identifier: MIT
"""Guest images: what a template promises, and what is needed to make one from an installation medium."""
