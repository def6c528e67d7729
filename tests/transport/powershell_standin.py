# SPDX-License-Identifier: MIT
"""Stands in for powershell.exe where there is no Windows: knows the harness's own operations, and nothing else.

An operation is recognised by its mark, and its body must be, letter for letter, the one that the harness sends; then
the same is done to the host's files. ``test_real_powershell.py`` compares what it does with what a real PowerShell does.
Every other script is handed to ``sh``, so that a contract suite can have commands with known output.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def bodies() -> tuple[dict[str, str], str, str]:
    """Return the bodies, the mark and the preamble, from the file alone: importing the package takes longer."""
    path = ROOT / "harness" / "transport" / "powershell.py"
    # What it imports itself is of the same tree, and not of an installed one.
    sys.path.insert(0, str(ROOT))
    spec = importlib.util.spec_from_file_location("powershell_dialect", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BODIES, module.MARK, module._PREAMBLE


def main(arguments: list[str]) -> int:
    """Do what ``powershell.exe`` was asked to."""
    if "-EncodedCommand" in arguments:
        text = base64.b64decode(arguments[arguments.index("-EncodedCommand") + 1]).decode("utf-16-le")
    else:
        text = host_path(arguments[arguments.index("-File") + 1]).read_bytes().decode("utf-8-sig")
        text = text.replace("\r\n", "\n")
    known, mark, preamble = bodies()
    text = text.removeprefix(preamble)
    if not text.startswith(mark):
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
            script.write(text)
            script.flush()
            return subprocess.run(["/bin/sh", script.name], check=False).returncode
    name, _, rest = text.removeprefix(mark).partition("\n")
    body = known[name]
    if not rest.endswith(body):
        sys.stderr.write(f"the body of {name} is not the known one\n")
        return 99
    values = dict(re.findall(r"\$(\w+) = '((?:[^']|'')*)'", rest.removesuffix(body)))
    values = {key: value.replace("''", "'") for key, value in values.items()}
    return globals()[f"do_{name}"](**values)


def host_path(path: str) -> Path:
    """Windows' separator is a plain character of a file name here."""
    return Path(path.replace("\\", "/"))


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def do_size(path: str) -> int:
    file = host_path(path)
    print(file.stat().st_size if file.is_file() else "absent")
    return 0


def do_digest(path: str) -> int:
    file = host_path(path)
    print(f"{file.stat().st_size} {digest_of(file)}" if file.is_file() else "absent")
    return 0


def do_settle(part: str, target: str, sha256: str) -> int:
    here, there = host_path(part), host_path(target)
    if not here.is_file():
        print("settled" if there.is_file() and digest_of(there) == sha256 else "absent")
    elif digest_of(here) != sha256:
        print(f"differs {digest_of(here)}")
    else:
        there.unlink(missing_ok=True)
        here.rename(there)
        print("settled")
    return 0


def do_remove(path: str) -> int:
    file = host_path(path)
    if file.is_dir():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)
    return 0


def do_listing(directory: str) -> int:
    for entry in os.scandir(os.fsencode(host_path(directory))):
        if entry.is_file(follow_symlinks=False):
            print(entry.stat().st_size, base64.b64encode(entry.name).decode())
    return 0


def do_prepare(directory: str) -> int:
    host_path(directory).mkdir(parents=True, exist_ok=True)
    return 0


def do_runner(directory: str) -> int:
    job = host_path(directory)
    try:
        (job / "claim").open("x").close()
    except FileExistsError:
        return 0
    with (job / "stdout").open("wb") as out, (job / "stderr").open("wb") as err:
        run = [sys.executable, "-I", __file__, "-File", str(job / "script.ps1")]
        code = subprocess.run(run, stdout=out, stderr=err, stdin=subprocess.DEVNULL, check=False).returncode
    (job / "exit.part").write_text(str(code))
    (job / "exit.part").rename(job / "exit")
    return 0


def do_launch(directory: str) -> int:
    runner = host_path(directory) / "runner.ps1"
    if not runner.is_file():
        sys.stderr.write(f"no runner in {directory}\n")
        return 1
    null = subprocess.DEVNULL
    subprocess.Popen(
        [sys.executable, "-I", __file__, "-File", str(runner)],
        stdin=null,
        stdout=null,
        stderr=null,
        start_new_session=True,
    )
    return 0


def do_state(directory: str) -> int:
    job = host_path(directory)
    if (job / "exit").exists():
        print("done " + (job / "exit").read_text())
    elif (job / "claim").exists():
        print("running")
    else:
        print("waiting" if job.is_dir() else "absent")
    return 0


def do_read(path: str, offset: str, length: str) -> int:
    left = int(length)
    with host_path(path).open("rb") as file:
        file.seek(int(offset))
        while left and (chunk := file.read(min(left, 49152))):
            sys.stdout.write(base64.b64encode(chunk).decode() + "\r\n")
            left -= len(chunk)
    return 0


def do_write(path: str, offset: str) -> int:
    try:
        with os.fdopen(os.open(host_path(path), os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
            if (there := file.seek(0, os.SEEK_END)) < int(offset):
                sys.stderr.write(f"only {there} of {offset} bytes are there\n")
                return 1
            file.truncate(int(offset))
            file.seek(int(offset))
            for line in sys.stdin:
                if line.strip():
                    file.write(base64.b64decode(line.strip(), validate=True))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
