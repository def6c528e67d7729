# SPDX-License-Identifier: MIT
"""Build hook of hatchling: puts the revision of git into the package, where ``harness --version`` finds it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "revision.txt"


class RevisionHook(BuildHookInterface[Any]):
    """Adds the file to the root of an sdist and to the package in a wheel; that of an sdist names the sdist's revision."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Have the file included. Where git makes it, it lies outside of the source tree, which it would change."""
        if version == "editable":
            return
        file = Path(self.root) / NAME
        if words := self._revision():
            self._folder = tempfile.TemporaryDirectory()
            file = Path(self._folder.name) / NAME
            file.write_text(f"{words}\n", encoding="utf-8")
        if file.is_file():
            build_data["force_include"][str(file)] = (
                NAME if self.target_name == "sdist" else f"harness/{NAME}"
            )

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the file again."""
        if folder := getattr(self, "_folder", None):
            folder.cleanup()

    def _revision(self) -> str:
        """Return the commit, and whether the sources are its; "" outside of a repository of this project's."""
        top = self._git("rev-parse", "--show-toplevel")
        if not top or not Path(top).samefile(self.root):
            return ""
        commit = self._git("rev-parse", "HEAD")
        changed = ", with changes that are not committed" if self._git("status", "--porcelain") else ""
        return f"{commit[:12]}{changed}" if commit else ""

    def _git(self, *words: str) -> str:
        try:
            asked = subprocess.run(
                ["git", *words], cwd=self.root, capture_output=True, text=True, check=False
            )
        except OSError:
            return ""
        return asked.stdout.strip() if asked.returncode == 0 else ""
