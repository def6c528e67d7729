# SPDX-License-Identifier: MIT
"""The statements on Windows of docs/windows.md as data; ``python -m tests.docs.statements`` writes the package's copy anew."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "windows.md"
FILE = ROOT / "harness" / "acceptance" / "statements.json"

HEADING = "\n## Every statement on Windows, and its page\n"


def statements(page: str) -> list[dict[str, str]]:
    """Return each row of the tables below the heading; one for each script where a row is about several."""
    section = page.partition(HEADING)[2].partition("\n## ")[0]
    found = []
    for line in section.splitlines():
        if not line.startswith("| ") or line.startswith(("| where |", "| --- |")):
            continue
        where, says, source = re.split(r" (?<!\\)\| ", line.removeprefix("| ").removesuffix(" |"))
        scripts = re.findall(r"`([^`]+\.ps1)`", where)
        for name in scripts or [where.replace("`", "")]:
            found.append({"id": name, "says": says, "page": source})
    return found


def text(page: str) -> str:
    """Return what the file is to hold."""
    return json.dumps(statements(page), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
