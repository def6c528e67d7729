# SPDX-License-Identifier: MIT
"""``python -m harness``: the command line."""

import sys

from harness.cli.main import main

sys.exit(main())
