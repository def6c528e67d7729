# SPDX-License-Identifier: MIT
"""harness driver manifest: its files, what resource compilers make of them, and what is said of mistakes."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from pathlib import Path

import pytest
from driver.manifests import manifest

from harness.cli.main import main
from harness.driver.instrumentation.strings import language
from harness.errors import ExitCode

Caught = pytest.CaptureFixture[str]
GERMAN = '<resources culture="de-DE"><stringTable><string id="e" value="geladen"/></stringTable></resources>'
BODY = '<events><event value="1" level="win:Error" message="$(string.e)"/></events>'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A manifest of two languages in a directory of its own."""
    path = tmp_path / "a b.man"
    path.write_bytes(manifest(BODY, '<string id="e" value="loaded"/>', languages=GERMAN))
    return path


def test_the_files(file: Path, tmp_path: Path, capsys: Caught) -> None:
    """All are there, named after the manifest, with their digests; a second time they are the same."""
    printed = []
    for _ in range(2):
        assert (
            main(["driver", "manifest", str(file), "-o", str(tmp_path / "out"), "--json"]) == ExitCode.HOLDS
        )
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert (["Made"], 1, ["en-US", "de-DE"]) == tuple(
        printed[0][key] for key in ("providers", "events", "cultures")
    )
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "out").iterdir()
    }
    assert printed[0]["sha256"] == files
    assert sorted(files) == [
        "a b.message_table.bin",
        "a b.message_table.de-DE.bin",
        "a b.rc",
        "a b.res",
        "a b.wevt_template.bin",
    ]


@pytest.mark.llvm
def test_a_resource_compiler_makes_the_same_file(file: Path, tmp_path: Path) -> None:
    """What llvm-rc makes of the script is the resource file, byte for byte."""
    out = tmp_path / "out"
    assert main(["driver", "manifest", str(file), "--out", str(out)]) == ExitCode.HOLDS
    subprocess.run(["llvm-rc", "/fo", "made.res", "a b.rc"], cwd=out, check=True)
    assert (out / "made.res").read_bytes() == (out / "a b.res").read_bytes()


def test_a_mistake_leaves_no_file(tmp_path: Path, capsys: Caught) -> None:
    """The exit code is 64, the line is named, and what an earlier compilation left is untouched."""
    bad = tmp_path / "bad.man"
    bad.write_bytes(manifest('<events>\n<event value="65536"/></events>'))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "bad.res").write_text("old")
    assert main(["driver", "manifest", str(bad), "--out", str(tmp_path / "out")]) == ExitCode.USAGE
    assert f'{bad}:6: <event value="65536">: is not a number from 0 to 65535' in capsys.readouterr().err
    assert [("bad.res", "old")] == [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nosuch.man --out out", "cannot read nosuch.man: No such file"),
        ("""'".man' --out out""", "a resource script cannot name files after"),
        (". --out out", "cannot read .: not a file"),
        ("made.man --out made.man", "cannot write into made.man: "),
    ],
)
def test_paths(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Caught
) -> None:
    """A file that is none and a folder that is none are named."""
    monkeypatch.chdir(tmp_path)
    Path("made.man").write_bytes(manifest(""))
    Path('".man').write_bytes(manifest(""))
    assert main(["driver", "manifest", *shlex.split(words)]) in (ExitCode.USAGE, ExitCode.INFRASTRUCTURE)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("culture", "number"),
    [
        ("en-US", 0x409),
        ("EN-us", 0x409),
        ("de-DE", 0x407),
        ("es-ES", 0xC0A),
        ("ja-JP", 0x411),
        ("en", 0x9),
        ("xx", None),
    ],
)
def test_languages(culture: str, number: int | None) -> None:
    """Cultures have the numbers that Windows gives them (MS-LCID 2.2)."""
    assert number == language(culture)
