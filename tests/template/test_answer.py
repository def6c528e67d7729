# SPDX-License-Identifier: MIT
"""Answer files: every guest, edition and variant is valid, and no value can become anything but text."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
import rich.pretty
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadDocument, InfrastructureError, UsageError
from harness.template.answer import (
    ANSWER_FILE,
    Answers,
    answer_file,
    answers_for,
    fill,
    new_password,
    render,
    write_secret,
)
from harness.template.components import UNATTEND, problems
from harness.template.edition import choose
from harness.template.serial_markers import PREFIX
from harness.template.stage import ORDER
from harness.template.template import Edition, Template, find_templates, templates_directory
from harness.template.wim import WimImage

SCHEMA = Path(__file__).resolve().parents[3] / "shared" / "data" / "unattend" / "autounattend.xsd"

TEMPLATES = find_templates()
KEYS = {"without a key": "", "with a key": "AAAAA-BBBBB-CCCCC-DDDDD-12345"}
EVERY = [
    pytest.param(template, edition, key, id=f"{template.name}-{edition.name}-{kind}")
    for template in TEMPLATES.values()
    for edition in template.editions
    for kind, key in KEYS.items()
]


def image_of(template: Template, edition: Edition, **fields: Any) -> WimImage:
    """The third image of a medium, which holds ``edition``."""
    return WimImage(
        index=3,
        edition=edition.ids[0],
        installation=edition.installation,
        architecture="amd64",
        build=template.builds[0],
        **{"language": "en-US", **fields},
    )


def rendered(template: Template, edition: Edition, key: str = "") -> str:
    """The answer file for an edition, chosen from a medium as a build chooses it."""
    _, image = choose(template, [image_of(template, edition)], edition.name)
    return render(template, answers_for(image, password=new_password(), product_key=key))


def value_of(text: str, path: str) -> str | None:
    """The text of the first element at ``path``, whatever component it is in."""
    inside = "/".join(f"{{{UNATTEND}}}{name}" for name in path.split("/"))
    return ElementTree.fromstring(text).findtext(f".//{inside}")


@pytest.mark.parametrize(("template", "edition", "key"), EVERY)
def test_every_variant_keeps_to_the_table(template: Template, edition: Edition, key: str) -> None:
    """Every guest, edition, and with and without a key: the table has nothing to say against it, and it says what it must."""
    text = rendered(template, edition, key)
    assert [] == problems(text)
    assert "3" == value_of(text, "InstallFrom/MetaData/Value")
    assert (key or None) == value_of(text, "UserData/ProductKey/Key")
    assert "OnError" == value_of(text, "UserData/ProductKey/WillShowUI")
    assert "${" not in text


@pytest.mark.parametrize(("template", "edition", "key"), EVERY)
def test_every_variant_has_the_published_frame(template: Template, edition: Edition, key: str) -> None:
    """The schema of answer files, which checks what is around the components."""
    if not SCHEMA.is_file():
        pytest.skip(f"the schema is not there: {SCHEMA}")
    assert schema().is_valid(rendered(template, edition, key))


def schema() -> Any:
    """The schema, read once."""
    if not _schema:
        xmlschema = pytest.importorskip("xmlschema", reason="xmlschema is not installed")
        _schema.append(xmlschema.XMLSchema(str(SCHEMA)))
    return _schema[0]


_schema: list[Any] = []


def test_the_frame_is_checked() -> None:
    """A pass that does not exist is none to the schema."""
    if not SCHEMA.is_file():
        pytest.skip(f"the schema is not there: {SCHEMA}")
    template = TEMPLATES["windows-11"]
    text = rendered(template, template.editions[0])
    assert not schema().is_valid(text.replace('pass="specialize"', 'pass="special"'))


def test_the_disk_is_for_uefi() -> None:
    """EFI system partition, reserved partition, Windows on the third, on a wiped disk."""
    template = TEMPLATES["windows-server-2022"]
    root = ElementTree.fromstring(rendered(template, template.editions[0]))
    kinds = [each.text for each in root.iterfind(f".//{{{UNATTEND}}}CreatePartition/{{{UNATTEND}}}Type")]
    assert ["EFI", "MSR", "Primary"] == kinds
    text = ElementTree.tostring(root, encoding="unicode")
    assert ("true", "3") == (value_of(text, "WillWipeDisk"), value_of(text, "InstallTo/PartitionID"))


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda each: each.name)
def test_marks_on_com1(template: Template) -> None:
    """Each pass tells the host that it has come, in an order the host knows, and no marker can fail an installation."""
    text = rendered(template, template.editions[0])
    tags = {f"{{{UNATTEND}}}Path", f"{{{UNATTEND}}}CommandLine"}
    commands = [each.text or "" for each in ElementTree.fromstring(text).iter() if each.tag in tags]
    markers = [command for command in commands if PREFIX.decode() in command]
    stages = [marker.partition("stage ")[2].partition(">")[0] for marker in markers]
    assert ["winpe", "copying", "specialize", "first-logon"] == stages
    assert set(stages) <= set(ORDER)
    assert all(marker.endswith(">COM1) & exit 0") for marker in markers)


def test_only_the_client_is_installed_past_its_hardware_checks() -> None:
    """Servers ask for no TPM and no Secure Boot."""
    found = {
        name: "LabConfig" in rendered(template, template.editions[0]) for name, template in TEMPLATES.items()
    }
    assert {name: name == "windows-11" for name in TEMPLATES} == found


def test_a_guest_may_have_its_own_file(tmp_path: Path) -> None:
    """A folder's own answer file is used instead of the one of all servers."""
    server = TEMPLATES["windows-server-2022"]
    assert templates_directory() / "windows-common" / ANSWER_FILE == answer_file(server)
    (tmp_path / ANSWER_FILE).touch()
    assert tmp_path / ANSWER_FILE == answer_file(msgspec.structs.replace(server, directory=str(tmp_path)))


ANSWERS = Answers(image_index=1, language="de-DE", password="p", computer_name="c")
FRAME = '<unattend xmlns="urn:schemas-microsoft-com:unattend"><a>{}</a></unattend>'


@settings(max_examples=examples(40))
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30))
def test_a_value_is_text(password: str) -> None:
    """Whatever a value holds, reading the file gives it back, and it makes no element and no variable."""
    text = fill(FRAME.format("[${password}]"), msgspec.structs.replace(ANSWERS, password=password), name="t")
    (element,) = ElementTree.fromstring(text)
    assert [] == list(element)
    read_back = password.replace("\r\n", "\n").replace("\r", "\n")
    if "\ufffe" not in password and "\uffff" not in password:
        assert f"[{read_back}]" == element.text


def test_nothing_leaves_the_element_out() -> None:
    """A value that is not given leaves no empty element, which most settings do not take."""
    assert "<a" not in fill(FRAME.format("${product_key}"), ANSWERS, name="t")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FRAME.format("${passwort}"), "no answer is called 'passwort'"),
        ("<a><b></a>", r"t:1: not XML"),
    ],
)
def test_mistakes_in_a_file(text: str, words: str) -> None:
    """They are named."""
    with pytest.raises(BadDocument, match=words):
        fill(text, ANSWERS, name="t")


def test_no_secret_in_a_message(tmp_path: Path) -> None:
    """What is wrong with a rendered file is told without the password and the key."""
    template = TEMPLATES["windows-server-2022"]
    broken = (templates_directory() / "windows-common" / ANSWER_FILE).read_text()
    (tmp_path / ANSWER_FILE).write_text(broken.replace("<LogonCount>3<", "<LogonCount>${password}<"))
    answers = msgspec.structs.replace(
        ANSWERS, password="Geheim123", product_key="AAAAA-BBBBB-CCCCC-DDDDD-12345"
    )
    with pytest.raises(BadDocument) as refused:
        render(msgspec.structs.replace(template, directory=str(tmp_path)), answers)
    assert "LogonCount" in refused.value.hint
    shown = rich.pretty.pretty_repr(answers, expand_all=True)
    assert "Geheim123" not in str(refused.value) + repr(answers) + shown


def test_passwords() -> None:
    """Each is new, long, and has the three kinds of characters that a policy may want."""
    found = {new_password() for _ in range(50)}
    assert 50 == len(found)
    for password in found:
        assert 24 == len(password)
        assert (True, True, True, True) == (
            password.isalnum(),
            any(sign.isupper() for sign in password),
            any(sign.islower() for sign in password),
            any(sign.isdigit() for sign in password),
        )


@pytest.mark.parametrize("key", ["ZZZZZ", "aaaaa-BBBBB-CCCCC-DDDDD-12345", "AAAAA-BBBBB-CCCCC-DDDDD-1234<"])
def test_no_product_key(key: str) -> None:
    """A key that is none is refused without being shown."""
    with pytest.raises(UsageError, match="not five groups") as refused:
        answers_for(WimImage(index=1), password="p", product_key=key)
    assert key not in str(refused.value)


def test_no_key_for_evaluation() -> None:
    """Evaluation media take no key: Setup would stop at it."""
    image = WimImage(index=2, edition="ServerStandardEval")
    with pytest.raises(UsageError, match=r"image 2: .* is for evaluation and takes no product key"):
        answers_for(image, password="p", product_key=KEYS["with a key"])


@pytest.mark.parametrize("name", ["", "1st", "sixteen-letters-", "a b", "a_b"])
def test_no_computer_name(name: str) -> None:
    """A name that Windows would refuse is refused before."""
    with pytest.raises(UsageError, match="cannot be a computer's name"):
        answers_for(WimImage(index=1), password="p", computer_name=name)


def test_a_language_that_is_none() -> None:
    """What a medium says of its language is checked like all else."""
    template = TEMPLATES["windows-server-2022"]
    image = image_of(template, template.editions[0], language="en-US</UILanguage>")
    with pytest.raises(BadDocument, match="not a valid answer file"):
        render(template, answers_for(image, password="p"))


def test_secrets_are_the_owners_alone(tmp_path: Path) -> None:
    """A new file of mode 0600; one that is there, or a link, is not written to."""
    path = tmp_path / "answer"
    write_secret(path, b"x")
    assert (b"x", 0o600) == (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for taken in (path, tmp_path / "link"):
        with pytest.raises(InfrastructureError, match="File exists"):
            write_secret(taken, b"y")
    assert not (tmp_path / "elsewhere").exists()
