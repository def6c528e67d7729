# SPDX-License-Identifier: MIT
"""docs/templates.md: adding a template is one folder, and what the page lists is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from harness.host.firmware import Ovmf
from harness.template import provision
from harness.template.answer import answers_for, render
from harness.template.components import problems
from harness.template.edition import choose
from harness.template.medium import answer_medium
from harness.template.template import find_template, find_templates
from harness.template.wim import WimImage
from tests.template.powershell_rules import broken

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "templates.md").read_text()


def block(language: str) -> str:
    """The page's only block in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def rows(heading: str) -> list[list[str]]:
    """The table under a heading, without its first two lines."""
    section = PAGE.partition(heading)[2].partition("\n## ")[0]
    lines = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def test_adding_a_template_is_one_folder(tmp_path: Path) -> None:
    """The folder of the page is a template: a machine, an answer file, steps and a medium, with nothing else written."""
    folder = tmp_path / "windows-server-next"
    (folder / "provision").mkdir(parents=True)
    (folder / "template.toml").write_text(block("toml"))
    (folder / "provision" / "55-pagefile.ps1").write_text(block("powershell"))
    template = find_template("windows-server-next", tmp_path)
    spec = template.machine_spec(
        accelerator="kvm",
        qemu=Path("qemu"),
        firmware=Ovmf(Path("code"), Path("vars")),
        variables=Path("v"),
        disk=Path("d"),
        vendor="AuthenticAMD",
    )
    assert (2, 16) == (spec.processors, spec.max_processors)
    medium = [
        WimImage(
            index=4, edition="ServerStandardEval", installation="Server Core", build=30000, language="de-DE"
        )
    ]
    edition, image = choose(template, medium)
    answer = render(template, answers_for(image, password="p"))
    assert ("standard-core", []) == (edition.name, problems(answer))
    assert "pagefile" in [step.name for step in provision.steps(template)]
    assert "provision/55-pagefile.ps1" in answer_medium(template, answer, authorized_key="ssh-ed25519 AAAA")


def test_the_example_step_keeps_to_the_rules() -> None:
    """It is a step like ours."""
    assert [] == broken(block("powershell").encode())


def test_every_template_has_a_row() -> None:
    """With the support status that its file has, and what is expected of an added processor."""
    expected = {"in-place": "taken in place", "after-restart": "taken after a restart", "unknown": "unknown"}
    found = {row[0].strip("`"): (row[1].partition(":")[0], row[2]) for row in rows("# Guest templates")}
    assert {
        name: (template.support.status, expected[template.expect.processor])
        for name, template in find_templates().items()
    } == found


def test_every_step_has_a_row() -> None:
    """In the order they run."""
    steps = [step.name for step in provision.steps(find_template("windows-server-2022"))]
    table = rows("## Provisioning")
    assert steps == [row[0].strip("`") for row in table]
    kinds = [
        "essential" if step.essential else "comfort"
        for step in provision.steps(find_template("windows-server-2022"))
    ]
    assert kinds == [row[1] for row in table]
    scripts = [step.script.read_text() for step in provision.steps(find_template("windows-server-2022"))]
    assert ["Invoke-Comfort" in script for script in scripts] == [bool(row[3]) for row in table]


def test_every_fact_is_named() -> None:
    """As the host knows it."""
    listed = PAGE.partition("It reports the facts ")[2].partition(".\n")[0]
    assert sorted(provision.FACTS) == re.findall(r"`([^`]+)`", listed)
