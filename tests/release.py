# SPDX-License-Identifier: MIT
"""Prepare a release: check the tree, build sdist and wheel twice to the same bytes, and say what to do next.

Run by ``tox run -e release``, which brings twine. It uploads nothing, and writes nothing but the two files.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADING = re.compile(r"^## (\S+?),? (.*)$", re.MULTILINE)
"""A version in CHANGELOG.md with its date."""


class NotReady(Exception):
    """Why there can be no release; one reason a line."""


def run(*command: str | Path, cwd: Path, umask: int = 0o022, **variables: str) -> str:
    """Run a program and return its output. Raises NotReady with its last words if it fails or is missing."""
    try:
        ended = subprocess.run(
            command, cwd=cwd, env={**os.environ, **variables}, umask=umask, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise NotReady(f"{command[0]} is not installed; 'tox run -e release' brings it") from error
    if ended.returncode != 0:
        words = "\n".join(f"    {line}" for line in ended.stdout.splitlines()[-12:])
        raise NotReady(f"'{' '.join(map(str, command[:4]))}' failed:\n{words}")
    return ended.stdout.strip()


def version_of(root: Path) -> str:
    """Return the version in pyproject.toml."""
    return str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def problems(root: Path) -> list[str]:
    """Return what keeps the tree at ``root`` from being released, each with what to do."""
    version = version_of(root)
    found = []
    code = re.search(r'^__version__ = "(.*)"$', (root / "harness" / "__init__.py").read_text(), re.MULTILINE)
    if code is None or code[1] != version:
        found.append(
            f"pyproject.toml has version {version}, harness/__init__.py {code and code[1]}: set both"
        )
    first = HEADING.search((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    if first is None or first[1] != version:
        found.append(
            f"CHANGELOG.md begins with {first[1] if first else 'no version'}: begin it with {version}"
        )
    elif not re.fullmatch(r"\d{4}-\d\d-\d\d", first[2]):
        found.append(f"CHANGELOG.md says '{first[2]}' of {version}: write the date, as 2026-11-29")
    if changed := run("git", "status", "--porcelain", cwd=root):
        names = ", ".join(line.split()[-1] for line in changed.splitlines()[:5])
        found.append(f"the tree has changes that are not committed ({names}): commit or remove them")
    tag = f"v{version}"
    if run("git", "tag", "--list", tag, cwd=root):
        tagged = run("git", "rev-list", "-n1", tag, cwd=root)
        if tagged != run("git", "rev-parse", "HEAD", cwd=root):
            found.append(
                f"the tag {tag} is on {tagged[:12]}, another commit: a new release needs a new version"
            )
    return found


HOOKS = """
import sys
import hatchling.build
print(*(getattr(hatchling.build, f"build_{kind}")(sys.argv[1]) for kind in sys.argv[2:]))
"""
"""What pip calls to have a project built (PEP 517): the build backend of pyproject.toml. Each returns its file's name."""


BOTH = ("sdist", "wheel")


def build(
    source: Path,
    out: Path,
    when: str,
    kinds: Sequence[str] = BOTH,
    *,
    umask: int = 0o077,
    zone: str = "Asia/Tokyo",
    hooks: str = HOOKS,
) -> list[Path]:
    """Build the sdist and the wheel of ``source`` in the new directory ``out``, as of a time in seconds.

    ``hooks`` is the program that does so, called with ``out`` and ``kinds``.
    """
    out.mkdir()
    surroundings = {"SOURCE_DATE_EPOCH": when, "TZ": zone}
    said = run(sys.executable, "-c", hooks, out, *kinds, cwd=source, umask=umask, **surroundings)
    return [out / name for name in said.splitlines()[-1].split()]


def build_again(files: list[Path], place: Path, when: str, hooks: str = HOOKS) -> None:
    """Build both files again of the sdist, in the empty directory ``place`` and with another umask and time zone.

    A wheel is often built from the sdist, by pip or a distribution, and nothing may depend on where and how a file is built.
    Raises NotReady if they are not the same, byte for byte.
    """
    shutil.unpack_archive(files[0], place)
    unpacked = place / files[0].name.removesuffix(".tar.gz")
    built = build(unpacked, place / "dist", when, umask=0o022, zone="UTC", hooks=hooks)
    for file, again in zip(files, built, strict=True):
        if file.read_bytes() != again.read_bytes():
            raise NotReady(
                f"{file.name} is not the same when it is built again: compare both with 'diffoscope'"
            )


def build_twice(root: Path, out: Path) -> list[Path]:
    """Build both files of a fresh clone, and again of that sdist, and put them into ``out``. Raises NotReady if they differ."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        clone = Path(one, "clone")
        run("git", "clone", "--quiet", root, clone, cwd=root, umask=0o077)
        when = run("git", "log", "-1", "--format=%ct", cwd=clone)
        files = build(clone, Path(one, "dist"), when)
        build_again(files, Path(other), when)
        out.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copy(file, out / file.name)) for file in files]


def main() -> int:
    """Check and build; 0 if the release is ready, 1 if it is not."""
    options = argparse.ArgumentParser(prog="tox run -e release --", description=__doc__)
    options.add_argument(
        "--out", type=Path, default=ROOT / "dist", help="where the files go, by default dist/"
    )
    out = options.parse_args().out
    try:
        if reasons := problems(ROOT):
            raise NotReady("\n".join(reasons))
        files = build_twice(ROOT, out)
        run("twine", "check", "--strict", *files, cwd=ROOT)
    except NotReady as error:
        sys.stderr.write(
            "not ready to be released:\n" + "".join(f"  {line}\n" for line in str(error).splitlines())
        )
        return 1
    for file in files:
        sys.stdout.write(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}\n")
    version = version_of(ROOT)
    sys.stdout.write(
        "Built twice to the same bytes, metadata in order. Nothing was uploaded. Next (docs/releasing.md):\n"
        f"  git tag -a v{version} -m 'Version {version}' && git push origin v{version}\n"
        f"  twine upload {' '.join(map(str, files))}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
