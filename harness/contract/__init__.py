# SPDX-License-Identifier: MIT
"""The contract: what Windows documents, as rules over a history, and the checker that applies them."""
