# SPDX-License-Identifier: MIT
"""Installation media for tests: real WIMs made by wimlib in real UDF images made by genisoimage."""

from __future__ import annotations

import subprocess
from pathlib import Path

STANDARD_CORE = {
    "NAME": "Windows Server 2022 SERVERSTANDARDCORE",
    "DISPLAYNAME": "Windows Server 2022 Standard Evaluation",
    "WINDOWS/EDITIONID": "ServerStandardEval",
    "WINDOWS/INSTALLATIONTYPE": "Server Core",
}
STANDARD_DESKTOP = {
    "NAME": "Windows Server 2022 SERVERSTANDARD",
    "DISPLAYNAME": "Windows Server 2022 Standard Evaluation (Desktop Experience)",
    "WINDOWS/EDITIONID": "ServerStandardEval",
    "WINDOWS/INSTALLATIONTYPE": "Server",
}
COMMON = {
    "WINDOWS/ARCH": "9",
    "WINDOWS/VERSION/MAJOR": "10",
    "WINDOWS/VERSION/BUILD": "20348",
    "WINDOWS/LANGUAGES/LANGUAGE": "en-US",
    "WINDOWS/LANGUAGES/DEFAULT": "en-US",
}


def run(*words: object) -> None:
    """Run a tool; its words are part of the failure."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


def make_wim(file: Path, *images: dict[str, str], solid: bool = False) -> Path:
    """Make a WIM with one file a time per image, and the properties that Windows media have."""
    tree = file.parent / f"{file.name}.tree"
    tree.mkdir(parents=True)
    for number, properties in enumerate(images, 1):
        (tree / "file.txt").write_text(f"image {number}\n" * 500)
        kind = ["--solid"] if solid else ["--compress=XPRESS"]
        run(
            "wimlib-imagex",
            "capture" if number == 1 else "append",
            tree,
            file,
            properties["NAME"],
            *(kind if number == 1 else []),
        )
        values = [f"--image-property={name}={value}" for name, value in {**COMMON, **properties}.items()]
        run("wimlib-imagex", "info", file, number, *values)
    return file


FORMS = {"udf": ["-udf", "-iso-level", "3"], "joliet": ["-J"], "plain": ["-iso-level", "2"]}
"""UDF beside ISO 9660 as Windows media are, or Joliet beside it, or nothing."""


def make_iso(iso: Path, tree: Path, *, form: str = "udf") -> Path:
    """Make an ISO of ``tree``."""
    run("genisoimage", "-quiet", "-o", iso, *FORMS[form], "-V", "SSS_X64FREE", tree)
    return iso


def windows_medium(
    directory: Path,
    *images: dict[str, str],
    form: str = "udf",
    name: str = "install.wim",
    texts: dict[str, str] | None = None,
) -> Path:
    """Make an installation medium with ``images`` (default: two editions) and ``texts`` in its folder sources."""
    tree = directory / "medium"
    (tree / "sources").mkdir(parents=True)
    made = make_wim(
        directory / name, *(images or (STANDARD_CORE, STANDARD_DESKTOP)), solid=name.endswith(".esd")
    )
    made.rename(tree / "sources" / name)
    for text, content in (texts or {}).items():
        (tree / "sources" / text).write_text(content)
    (tree / "setup.exe").write_bytes(b"MZ" * 4096)
    return make_iso(directory / "windows.iso", tree, form=form)
