# SPDX-License-Identifier: MIT
"""One Chromium and one npm project for all tests of the report's page."""

from report.page.chromium import chromium, opened
from report.page.npm_project import project

__all__ = ["chromium", "opened", "project"]
