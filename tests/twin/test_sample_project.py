# SPDX-License-Identifier: MIT
"""A stranger's project: the package installed into a fresh environment judges a driver of its own, with one fixture."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests" / "sample_project"
TINY = ROOT / "guest_drivers" / "tiny"

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the package installed, and what it depends on taken from this one."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    found = place / "bin" / "python"
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", found, "install",
         "--no-deps", "--no-build-isolation", "--editable", ROOT],
        check=True, capture_output=True,
    )  # fmt: skip
    return found


def _run(program: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "HOTPLUG_DRIVER"))
    }
    return subprocess.run(program, cwd=folder, env=clean, capture_output=True, text=True, check=False)


def test_one_fixture_gives_a_verdict_for_another_driver(python: Path, tmp_path: Path) -> None:
    """The plugin is found by its entry point, the driver's sources run on the twin, and its own events are judged."""
    where = _run(
        [python, "-c", "import importlib.metadata as m; print(m.distribution('hotplug-harness').locate_file(''))"], tmp_path
    )  # fmt: skip
    assert python.parents[1] in Path(where.stdout.strip()).parents
    done = _run(
        [python, "-m", "pytest", "-o", f"cache_dir={tmp_path}/cache", "--hotplug-accel=tcg", "--hotplug-runs", tmp_path / "runs",
         "--basetemp", tmp_path / "base"],
        SAMPLE,
    )  # fmt: skip
    assert (0, True) == (done.returncode, "1 passed" in done.stdout), done.stdout + done.stderr
    assert re.search(r"^holds +\S*::test_tiny_is_told_of_a_processor$", done.stdout, re.MULTILINE)
    (history,) = (tmp_path / "runs").glob("2*/history.jsonl")
    assert '"driver":"tiny"' in history.read_text()


def test_command_of_the_page_holds(tmp_path: Path) -> None:
    """The page's run with --restore is done as it stands there, and only what tiny has no event for is left out."""
    (block,) = re.findall(
        r"```sh\nharness (.*?)\n```", (ROOT / "docs" / "your-driver.md").read_text(), re.DOTALL
    )
    done = _run(
        [sys.executable, "-m", "harness", *block.split(), "--accel", "tcg", "--runs", tmp_path, "--json"], ROOT
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stdout if done.returncode else "")
    (history,) = tmp_path.glob("2*/history.jsonl")
    assert "the driver has no event for cpu_arrivals, memory_arrivals" in history.read_text()
    assert (history.parent / "driver-map" / "tiny.man").is_file()


def test_defect_in_another_driver_is_found(tmp_path: Path) -> None:
    """Tiny that changes the operation status at Complete breaks its obligation, and the rule says so by its events."""
    broken = tmp_path / "broken"
    shutil.copytree(TINY, broken)
    source = (broken / "tiny.c").read_text()
    wrong = "default:\n        *OperationStatus = STATUS_UNSUCCESSFUL;\n        break;"
    assert 1 == source.count("default:\n        break;")
    (broken / "tiny.c").write_text(source.replace("default:\n        break;", wrong))
    done = _run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--hotplug-accel=tcg", "--hotplug-runs", tmp_path / "runs",
         f"--hotplug-driver={broken}", f"--hotplug-driver-map={broken / 'harness.toml'}", SAMPLE],
        tmp_path,
    )  # fmt: skip
    assert (1, True) == (done.returncode, "1 passed, 1 error" in done.stdout), done.stdout + done.stderr
    assert "OB-OPSTATUS-DISCIPLINE" in done.stdout
