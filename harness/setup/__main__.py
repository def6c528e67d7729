# SPDX-License-Identifier: MIT
"""``python3 -m harness.setup``: the same as ``./lab``."""

from __future__ import annotations

import sys

from harness.setup.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
