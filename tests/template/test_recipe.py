# SPDX-License-Identifier: MIT
"""Recipes: the same wishes give the same build with the same secrets, and other wishes another."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import UsageError
from harness.host.qemu_build import find_qemu
from harness.template.build import Recipe
from harness.template.recipe import BuildOptions, make_recipe, product_key
from harness.template.store import Store
from harness.template.template import Template, find_templates
from tests.template.media import windows_medium

KEY = "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE"


def medium(
    folder: Path, template: Template, *, retail: bool = False, texts: dict[str, str] | None = None
) -> Path:
    """Make a medium with every edition of the template, for evaluation where there is one."""
    images = [
        {
            "NAME": edition.title,
            "DISPLAYNAME": edition.title,
            "WINDOWS/EDITIONID": edition.ids[0 if retail else -1],
            "WINDOWS/INSTALLATIONTYPE": edition.installation,
            "WINDOWS/VERSION/BUILD": str(template.builds[0] if template.builds else 20348),
        }
        for edition in template.editions[:2]
    ]
    folder.mkdir()
    return windows_medium(folder, *images, texts=texts)


def recipe(tmp_path: Path, template: Template, **wishes: Any) -> Recipe:
    """Make the recipe in the test's own store."""
    return make_recipe(
        template, BuildOptions(**wishes), Store(tmp_path / "store"), accelerator="kvm", qemu=find_qemu(), say=lambda _: None
    )  # fmt: skip


@pytest.mark.qemu
@pytest.mark.media
@pytest.mark.parametrize("name", list(find_templates()))
def test_every_template_has_a_recipe(name: str, tmp_path: Path) -> None:
    """Made again it is the same, with the same password; its answers are their owner's alone."""
    template = find_templates()[name]
    iso = medium(tmp_path / "medium", template)
    key = None
    if not template.editions[0].ids[-1].endswith("Eval"):
        key = tmp_path / "key"
        key.write_text(KEY)
    first, second = (recipe(tmp_path, template, iso=iso, key=key) for _ in range(2))
    assert (first.inputs, first.secrets) == (second.inputs, second.secrets)
    assert ("sftp" if template.openssh == "inbox" else "winrm") == first.transfer
    assert (template.openssh == "inbox") == ("ssh-host-key" in first.needed)
    spec = first.machine(tmp_path / "disk", tmp_path / "variables")
    assert [iso, tmp_path / "store" / ".work" / name / "answers.iso"] == [drive.file for drive in spec.cdroms]
    assert 0o600 == stat.S_IMODE(spec.cdroms[1].file.stat().st_mode)  # type: ignore[union-attr]


@pytest.mark.qemu
@pytest.mark.media
def test_other_wishes_are_another_build(tmp_path: Path) -> None:
    """Edition, certificate and OpenSSH are part of what a build is made from."""
    template = find_templates()["windows-server-2022"]
    iso = medium(tmp_path / "medium", template)
    features = tmp_path / "features.iso"
    features.write_bytes(b"features on demand")
    plain = recipe(tmp_path, template, iso=iso)
    others = [
        recipe(tmp_path, template, iso=iso, edition=template.editions[1].name),
        recipe(tmp_path, template, iso=iso, certificate=b"0certificate"),
        recipe(tmp_path, template, iso=iso, openssh=str(features)),
    ]
    assert 4 == len({str(each.inputs) for each in (plain, *others)})
    assert features == others[2].machine(Path("/d"), Path("/v")).cdroms[2].file
    assert "provision/test.cer" in others[1].inputs.provisioning


@pytest.mark.qemu
@pytest.mark.media
@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({}, "would stop and ask for the product key of 1: Standard, Server Core"),
        ({"ei.cfg": "[Channel]\r\nRetail\r\n[VL]\r\n0\r\n"}, "is not for evaluation"),
        ({"ei.cfg": "[EditionID]\r\n\r\n[Channel]\r\nOEM"}, "is not for evaluation"),
        ({"ei.cfg": "Volume"}, "is not for evaluation"),
        ({"ei.cfg": "[EditionID]\r\n\r\n[Channel]\r\nVolume\r\n[VL]\r\n1\r\n"}, ""),
        ({"ei.cfg": "[Channel]\r\n_Default\r\n[VL]\r\n1"}, ""),
        ({"pid.txt": "[PID]\r\nValue=AAAAA-BBBBB-CCCCC-DDDDD-EEEEE"}, ""),
    ],
)
def test_a_medium_that_would_ask_for_a_key_is_refused(
    texts: dict[str, str], words: str, tmp_path: Path
) -> None:
    """Before anything boots, with the ways out; the key in a file is one of them, and is told nowhere."""
    template = find_templates()["windows-server-2022"]
    iso = medium(tmp_path / "medium", template, retail=True, texts=texts)
    if words:
        with pytest.raises(UsageError, match=words) as caught:
            recipe(tmp_path, template, iso=iso)
        assert "--key-file FILE" in str(caught.value.hint)
        assert "--generic-key" in str(caught.value.hint)
    else:
        recipe(tmp_path, template, iso=iso)
    (tmp_path / "key").write_text(f"{KEY.lower()}\n")
    assert KEY not in repr(recipe(tmp_path, template, iso=iso, key=tmp_path / "key"))


@pytest.mark.qemu
@pytest.mark.media
def test_the_public_key_of_the_edition_is_used_if_it_is_asked_for(tmp_path: Path) -> None:
    """It is in the answer file, and nowhere where a person did not ask for it; the manifest says so; two keys at once are refused."""
    template = find_templates()["windows-server-2022"]
    iso = medium(tmp_path / "medium", template, retail=True)
    made = recipe(tmp_path, template, iso=iso, generic_key=True)
    assert "generic" == made.inputs.installation["product key"]
    answers = (tmp_path / "store" / ".work" / template.name / "answers.iso").read_bytes()
    assert template.editions[0].generic_key.encode() in answers
    (tmp_path / "key").write_text(KEY)
    given = recipe(tmp_path, template, iso=iso, key=tmp_path / "key")
    assert "given" == given.inputs.installation["product key"]
    with pytest.raises(UsageError, match="--generic-key and --key-file cannot be combined"):
        recipe(tmp_path, template, iso=iso, generic_key=True, key=tmp_path / "key")
    edition = msgspec.structs.replace(template.editions[0], generic_key="")
    with pytest.raises(
        UsageError, match="no public key of windows-server-2022's edition 'standard-core' is known"
    ):
        recipe(tmp_path, msgspec.structs.replace(template, editions=[edition]), iso=iso, generic_key=True)
    evaluation = medium(tmp_path / "evaluation", template)
    with pytest.raises(UsageError, match="is for evaluation and takes no product key"):
        recipe(tmp_path, template, iso=evaluation, generic_key=True)


@pytest.mark.qemu
@pytest.mark.media
def test_a_template_without_ssh(tmp_path: Path) -> None:
    """Where the medium has the server, too: files travel over WinRM, no host key is awaited, and the step is told."""
    template = find_templates()["windows-server-2025"]
    iso = medium(tmp_path / "medium", template)
    plain, without = (recipe(tmp_path, template, iso=iso, openssh=said) for said in ("", "none"))
    assert ("sftp", "winrm") == (plain.transfer, without.transfer)
    assert {"ssh-host-key"} == {*plain.needed} - {*without.needed}
    assert plain.inputs != without.inputs
    answers = (tmp_path / "store" / ".work" / template.name / "answers.iso").read_bytes()
    assert b'"openssh": "none"' in answers


def test_a_product_key_comes_from_a_file(tmp_path: Path) -> None:
    """One word in any case; without a file there is none, and what is in a wrong file is in no message."""
    file = tmp_path / "key"
    assert "" == product_key(None)
    file.write_text(f"  {KEY.lower()}\r\n")
    assert KEY == product_key(file)
    file.write_text(f"{KEY} {KEY}")
    with pytest.raises(UsageError, match="one product key") as caught:
        product_key(file)
    assert KEY not in str(caught.value)
    with pytest.raises(UsageError, match="cannot read"):
        product_key(tmp_path / "nosuch")
