# SPDX-License-Identifier: MIT
"""The schemas of the JSON documents that commands print; ``python -m tests.docs.schemas`` writes docs/schemas/ anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.cli.documents import DOCUMENTS, ErrorDocument
from harness.cli.output import JSON_VERSION
from harness.schema import output_schema

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"


def schemas() -> dict[str, dict[str, Any]]:
    """Return each schema by its file's name: a command's words, and ``error``."""
    found = {
        f"{name.replace(' ', '-')}.json": output_schema(
            kinds, title=f"What harness {name} --json prints", version=JSON_VERSION
        )
        for name, kinds in DOCUMENTS.items()
    }
    title = "What any command prints with --json when an error keeps it from its own document"
    found["error.json"] = output_schema([ErrorDocument], title=title, version=JSON_VERSION)
    return found


def text(schema: dict[str, Any]) -> str:
    """Return a schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all files and remove those that no command has any more."""
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for name, schema in schemas().items():
        (FOLDER / name).write_text(text(schema), encoding="utf-8")


if __name__ == "__main__":
    main()
