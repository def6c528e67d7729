# SPDX-License-Identifier: MIT
"""The examples of docs/lab.md for systemd, GitLab and GitHub are valid for their own checkers."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "lab.md").read_text(encoding="utf-8")
YAML = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
UNITS = dict(re.findall(r"^`(\w+\.\w+)`:\n\n```ini\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))


def refused(texts: dict[str, str], schema: str, folder: Path) -> set[str]:
    """Check documents with a schema that comes with check-jsonschema, offline. Return the names of those that it refuses."""
    from check_jsonschema import main

    for name, text in texts.items():
        (folder / name).write_text(text)
    words = ["--output-format", "json", "--builtin-schema", schema]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
        main([*words, *(str(folder / name) for name in texts)])
    found = json.loads(said.getvalue())
    assert [] == found["parse_errors"]
    assert (1 if found["errors"] else 0) == (ended.value.code or 0)
    return {Path(error["filename"]).name for error in found["errors"]}


@pytest.mark.parametrize(
    ("begins", "schema", "broken"),
    [
        ("nightly:", "vendor.gitlab-ci", ("when: always", "when: sometimes")),
        ("name: nightly", "vendor.github-workflows", ("runs-on:", "run-on:")),
    ],
)
def test_an_example_is_what_its_schema_allows(
    begins: str, schema: str, broken: tuple[str, str], tmp_path: Path
) -> None:
    """And the schema tells a mistake in it."""
    pytest.importorskip(
        "check_jsonschema", reason="check-jsonschema is not installed: it comes with the extra 'dev'"
    )
    (text,) = [one for one in YAML if one.startswith(begins)]
    texts = {"right.yml": text, "wrong.yml": text.replace(*broken)}
    assert {"wrong.yml"} == refused(texts, schema, tmp_path)


def verified(units: dict[str, str], folder: Path) -> str:
    """Return what systemd says of units, "" for nothing."""
    for name, text in units.items():
        # The program of the example is a user's own; any that is there will do.
        (folder / name).write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    ended = subprocess.run(
        ["systemd-analyze", "--user", "verify", *(str(folder / name) for name in units)],
        capture_output=True, text=True, check=False, timeout=60, env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(folder)},
    )  # fmt: skip
    own = [
        line
        for line in ended.stderr.splitlines()
        if str(folder) in line or any(f"{name}:" in line for name in units)
    ]
    return "\n".join(own)


@pytest.mark.systemd
def test_the_units_are_what_systemd_takes(tmp_path: Path) -> None:
    """Service and timer; a directive that is misspelt is told."""
    assert {"nightly.service", "nightly.timer"} == set(UNITS)
    misspelt = UNITS["nightly.timer"].replace("OnCalendar=*-*-* 22:00:00", "OnCalendar=*-*-* 25:00:00")
    assert ["", True] == [
        verified(UNITS, tmp_path),
        bool(verified(UNITS | {"nightly.timer": misspelt}, tmp_path)),
    ]
