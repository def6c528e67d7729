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


def build(root: Path, place: Path, umask: int, zone: str) -> tuple[Path, Path]:
    """Build an sdist of a fresh clone of ``root`` at ``place``, and a wheel from that sdist; return both files."""
    clone, out = place / "clone", place / "dist"
    run("git", "clone", "--quiet", root, clone, cwd=place, umask=umask)
    when = run("git", "log", "-1", "--format=%ct", cwd=clone)
    builder = (sys.executable, "-m", "hatchling", "build", "--directory", out, "--target")
    surroundings = {"SOURCE_DATE_EPOCH": when, "TZ": zone}
    run(*builder, "sdist", "--target", "wheel", cwd=clone, umask=umask, **surroundings)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    once = wheel.read_bytes()
    shutil.unpack_archive(sdist, place)
    # A wheel is often built from the sdist, by pip or a distribution. It must not differ from one of the clone.
    run(*builder, "wheel", cwd=place / sdist.name.removesuffix(".tar.gz"), umask=umask, **surroundings)
    if once != wheel.read_bytes():
        raise NotReady(f"{wheel.name} of the sdist and of the clone differ: compare them with 'diffoscope'")
    return sdist, wheel


def build_twice(root: Path, out: Path) -> list[Path]:
    """Build both files in two places, with another umask and time zone, and put them into ``out``.

    Raises NotReady if they are not the same, byte for byte.
    """
    files = []
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        first = build(root, Path(one), 0o022, "UTC")
        second = build(root, Path(other), 0o077, "Asia/Tokyo")
        for file, again in zip(first, second, strict=True):
            if file.read_bytes() != again.read_bytes():
                raise NotReady(
                    f"{file.name} is not the same when it is built again: compare both with 'diffoscope'"
                )
            out.mkdir(parents=True, exist_ok=True)
            files.append(Path(shutil.copy(file, out / file.name)))
    return files


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
