# SPDX-License-Identifier: MIT
"""The digest of what a guest is built from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest_of_folders(root: Path, folders: Iterable[str], *others: str) -> str:
    """Return 64 hex digits that stand for every file below ``folders`` of ``root``, its name included, and ``others``."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    for other in others:
        digest.update(f"{len(other)}\0{other}".encode())
    return digest.hexdigest()
