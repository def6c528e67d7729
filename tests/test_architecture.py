# SPDX-License-Identifier: MIT
"""The arrows between the rooms run one way, and only licences that allow it are imported."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.syntax import imports, nodes, parse

ROOT = Path(__file__).resolve().parents[1]

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| [^|]* \|([^|]*)\|$", PAGE, re.MULTILINE)
TABLE = {room: set(re.findall(r"`(\w+)`", cell)) for room, cell in ROWS}
"""The rooms of the page, in its order, with what each imports besides the base."""

BASE = {"errors", "deadline", "choice", "invocation", "locks", "interrupts", "program"}
NO_MACHINE = {"contract", "report", "capture", "history"}
"""Rooms that judge, show and read, and never touch a machine."""


FILES_OF_A_RUN = re.compile(r"(^|/)(run\.json|history\.jsonl|verdict\.json|index\.json|index\.md|map\.toml)$")
MAY_NAME_ONE = re.compile(FILES_OF_A_RUN.pattern.removeprefix("(^|/)").removesuffix("$"))


@functools.cache
def _read(path: Path) -> tuple[list[ast.Import | ast.ImportFrom], list[ast.Constant]]:
    """The import statements of a file, wherever they stand, and its strings that name a file of a run."""
    text = path.read_text()
    names = [
        node
        for node in (nodes(parse(text)) if MAY_NAME_ONE.search(text) else ())
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and FILES_OF_A_RUN.search(node.value)
    ]
    return imports(text), names


def _import_statements(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """The import statements of a file, wherever they stand."""
    return _read(path)[0]


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in _import_statements(path):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("harness."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "harness":
            found |= {alias.name for alias in node.names if alias.name != "__version__"}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("harness.")}
    return found


def test_the_page_lists_the_rooms() -> None:
    """Each folder and module of harness/ has one row, and each row is one."""
    rooms = {
        path.stem
        for path in (ROOT / "harness").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert rooms - {"__init__", "__main__"} == set(TABLE)


@pytest.mark.parametrize("room", TABLE)
def test_a_room_imports_what_its_row_says(room: str) -> None:
    """No room imports a room that the page does not name, and the page names none that is not imported."""
    folder = ROOT / "harness" / room
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    assert files
    assert set().union(*map(_imports, files)) - BASE - {room} == TABLE[room]


def test_arrows_run_one_way() -> None:
    """A room imports only rooms above it in the table."""
    order = list(TABLE)
    upwards = {
        room: sorted(each for each in TABLE[room] if order.index(each) > order.index(room)) for room in order
    }
    assert {room: [] for room in order} == upwards


@pytest.mark.parametrize("room", sorted(NO_MACHINE))
def test_who_judges_touches_no_machine(room: str) -> None:
    """Rooms that judge, show and read import nothing that boots or reaches a guest."""
    assert set() == TABLE[room] & {"host", "machine", "transport", "guest", "template", "run"}


def test_contract_and_report_load_without_a_machine() -> None:
    """Judging and reporting import nothing that could touch a guest."""
    program = (
        "import sys, harness.contract.checker, harness.report.timeline, harness.report.verdict_text;"
        "print([m for m in sys.modules if m.split('.')[0] in ('qemu', 'libvirt', 'paramiko', 'winrm', 'asyncio')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_the_lgpl_modules_of_qemu_qmp_are_imported() -> None:
    """A whole run imports none of qemu.qmp's GPL modules."""
    program = (
        "import sys, harness.run.run, harness.cli.run;"
        "print(sorted(m for m in sys.modules if m.startswith('qemu.qmp.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert loaded
    assert loaded & {"qemu.qmp.legacy", "qemu.qmp.qmp_shell", "qemu.qmp.qmp_tui"} == set()


def test_plain_dependencies_stay_in_their_rooms() -> None:
    """libvirt, paramiko, winrm and the database's packages are imported only where they belong, inotify only by the follower."""
    homes = {
        "libvirt": "machine/libvirt/",
        "paramiko": "transport/",
        "winrm": "transport/",
        "inotify_simple": "capture/",
        "pycdlib": "template/",
        "prompt_toolkit": "repro/",
        "hypothesis": "explore/",
        "sqlalchemy": "store/",
        "alembic": "store/",
        "psycopg": "store/",
        "distributed": "fleet/",
        "dask": "fleet/",
        "fsspec": "fleet/",
    }
    strays = []
    for file in (ROOT / "harness").rglob("*.py"):
        for node in _import_statements(file):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            strays += [
                f"{file.relative_to(ROOT)}: {name}"
                for name in names
                if (home := homes.get(name.split(".")[0])) and home not in str(file)
            ]
    assert strays == []


def test_sleep_stands_in_one_place() -> None:
    """Only Deadline sleeps."""
    sleepers = [
        str(file.relative_to(ROOT))
        for file in (ROOT / "harness").rglob("*.py")
        if "time.sleep(" in file.read_text()
    ]
    assert sleepers == ["harness/deadline.py"]


@pytest.mark.parametrize(
    ("module", "homes"),
    [
        ("difflib", ["harness/choice.py", "harness/report/page/comparison.py"]),
        ("subprocess", ["harness/program.py"]),
    ],
)
def test_module_stands_in_its_place(module: str, homes: list[str]) -> None:
    """Only harness.choice guesses which name was meant, only a comparison aligns two runs, only harness.program starts programs."""
    users = [
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / "harness").rglob("*.py"))
        for node in _import_statements(file)
        if module in (getattr(node, "module", ""), *(alias.name for alias in node.names))
    ]
    assert users == homes


def test_report_shows_and_never_judges() -> None:
    """No module of report imports the checker or what judges runs and examples."""
    judges = {
        "harness.contract.checker",
        "harness.contract.state.merge",
        "harness.contract.state.model",
        "harness.contract.rules",
    }
    strays = [
        f"{file.relative_to(ROOT)}: {node.module}"
        for file in sorted((ROOT / "harness" / "report").rglob("*.py"))
        for node in _import_statements(file)
        if isinstance(node, ast.ImportFrom)
        and (
            node.module in judges or any("judg" in name.name and name.name != "Judged" for name in node.names)
        )
    ]
    assert [] == strays
    loaded = "import sys, pkgutil, importlib, harness.report as r;"
    loaded += (
        "[importlib.import_module(f'harness.report.{m.name}') for m in pkgutil.iter_modules(r.__path__)];"
    )
    loaded += "print([m for m in sys.modules if m.startswith('harness.run')])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_of_a_run_are_named_in_one_place() -> None:
    """Only the run directory's module spells the names of the files in it."""
    strays = [
        f"{file.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for file in sorted((ROOT / "harness").rglob("*.py"))
        if file != ROOT / "harness" / "history" / "run_directory.py"
        for node in _read(file)[1]
    ]
    assert [] == strays


def test_every_source_file_names_its_licence() -> None:
    """Every source file begins with its SPDX line."""
    kinds = ("*.py", "*.c", "*.h", "*.sh", "*.ps1")
    without = [
        str(file.relative_to(ROOT))
        for folder in ("harness", "tests", "guest_drivers", "vm_templates", "benchmarks")
        for kind in kinds
        for file in (ROOT / folder).rglob(kind)
        if "node_modules" not in file.parts
        and "SPDX-License-Identifier:" not in file.read_text(errors="replace")[:300]
    ]
    assert without == []
