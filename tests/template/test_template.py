# SPDX-License-Identifier: MIT
"""Templates decode strictly, and say what machine they want."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadDocument, UsageError
from harness.host.firmware import Ovmf
from harness.machine.attachments import RealTimeClock
from harness.machine.devices import tells_bug_checks
from harness.template.answer import PRODUCT_KEY
from harness.template.components import fits
from harness.template.template import (
    Template,
    decode_template,
    find_template,
    find_templates,
    templates_directory,
)

GIB = 1 << 30
NAMES = sorted(find_templates())
OVMF = Ovmf(Path("/firmware/code.fd"), Path("/firmware/vars.fd"))


def text_of(name: str) -> str:
    """A template of the harness as it stands."""
    return (templates_directory() / name / "template.toml").read_text()


def test_the_guests_there_are() -> None:
    """Four servers and one client."""
    assert ["windows-11", *(f"windows-server-{year}" for year in (2016, 2019, 2022, 2025))] == NAMES


def test_support_status() -> None:
    """Three are supported, one is known to be broken, with a way out, and the client is there for contrast."""
    found = {name: template.support.status for name, template in find_templates().items()}
    assert {
        "windows-11": "client-negative",
        "windows-server-2016": "known-broken",
        "windows-server-2019": "supported",
        "windows-server-2022": "supported",
        "windows-server-2025": "supported",
    } == found
    assert "ACPI0010" in find_template("windows-server-2016").support.reason
    assert find_template("windows-server-2016").support.workaround


@pytest.mark.parametrize("name", NAMES)
def test_machine(name: str) -> None:
    """The machine is what hot-adds need: spare slots for both, at least 4 GiB, a node, flash, inbox devices."""
    template = find_template(name)
    spec = template.machine_spec(
        accelerator="kvm",
        qemu=Path("qemu"),
        firmware=OVMF,
        variables=Path("/x/vars"),
        disk=Path("/x/disk"),
        vendor="GenuineIntel",
    )
    assert RealTimeClock() == spec.clock
    assert spec.max_processors > spec.processors
    assert (True, True, True) == (spec.memory >= 4 * GIB, spec.max_memory > spec.memory, spec.dimm_slots > 0)
    assert spec.nodes >= 1
    assert "-vmx" in spec.cpu.split(",")
    assert any(word.startswith("hv-") for word in spec.cpu.split(","))
    assert tells_bug_checks(spec)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("accelerator", "vendor", "model", "without"),
    [
        ("kvm", "GenuineIntel", "Broadwell-noTSX-IBRS", "-vmx"),
        ("kvm", "AuthenticAMD", "EPYC-IBPB", "-svm"),
        ("kvm", "", "Broadwell-noTSX-IBRS", "-vmx"),
        ("tcg", "AuthenticAMD", "Broadwell-noTSX-IBRS", "-vmx"),
    ],
)
def test_the_processor_is_one_of_the_host_s_vendor(
    name: str, accelerator: Literal["kvm", "tcg"], vendor: str, model: str, without: str
) -> None:
    """Under KVM, which gives every model the host's vendor; without virtualization, whoever made it."""
    words = find_template(name).processor(accelerator, vendor).split(",")
    assert (model, without) == (words[0], words[1])
    assert (accelerator == "kvm") == any(word.startswith("hv-") for word in words)


def test_a_processor_of_another_vendor_is_refused() -> None:
    """A host of a third maker, and a template that was built before there was a model for AMD."""
    template = find_template("windows-server-2025")
    with pytest.raises(UsageError, match="whose processor is 'CentaurHauls'") as caught:
        template.processor("kvm", "CentaurHauls")
    assert "--accel tcg" in caught.value.hint
    former = msgspec.structs.replace(template, cpu=msgspec.structs.replace(template.cpu, amd=None))
    with pytest.raises(
        UsageError, match="no processor model for this host, whose processor is 'AuthenticAMD'"
    ):
        former.processor("kvm", "AuthenticAMD")


def test_every_edition_has_a_public_key_of_its_own_kind() -> None:
    """Core and desktop of an edition have the same, other editions others, as on Microsoft's page."""
    keys: dict[str, set[str]] = {}
    for template in find_templates().values():
        for edition in template.editions:
            assert fits(PRODUCT_KEY, edition.generic_key)
            keys.setdefault(f"{template.name} {edition.ids[0]}", set()).add(edition.generic_key)
    assert all(len(found) == 1 for found in keys.values())
    assert len(keys) == len(set.union(*keys.values()))


def test_no_enlightenments_without_kvm() -> None:
    """TCG has none to give."""
    spec = find_template("windows-server-2025").machine_spec(
        accelerator="tcg", qemu=Path("qemu"), firmware=OVMF, variables=Path("v"), disk=Path("d")
    )
    assert "hv-" not in spec.cpu


@settings(max_examples=examples(40))
@given(st.data())
def test_any_mistake_is_told(data: st.DataObject) -> None:
    """A template with a line changed is still one, or is refused with file and line; nothing else ever happens."""
    lines = text_of("windows-11").splitlines()
    place = data.draw(st.integers(0, len(lines) - 1))
    key = lines[place].partition("=")[0]
    value = data.draw(
        st.sampled_from(
            ["", "[]", "{}", "-1", "1e9", "9" * 30, '""', '"x"', "true", '"4 GiB"', "[[]]", "1979-05-27"]
        )
        | st.text(max_size=8)
    )
    lines[place] = data.draw(
        st.sampled_from([f"{key}= {value}", value, f"[{value}]", f"{lines[place]}\n{lines[place]}"])
    )
    try:
        decode_template("\n".join(lines), name="t.toml")
    except BadDocument as refused:
        said = refused.message
    else:
        return
    assert said.startswith("t.toml:")


class TestMistakes:
    """What is wrong in a template is named by file and line."""

    TEXT = text_of("windows-server-2025")

    def decode(self, old: str, new: str) -> Template:
        """Decode the template with one thing changed."""
        assert old in self.TEXT
        return decode_template(self.TEXT.replace(old, new, 1), name="t.toml")

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("slots = 8", "slotz = 8", r"t\.toml:\d+: unknown key 'slotz'\n  Did you mean 'slots'\?"),
            ('disk = "ahci"', 'disk = "achi"', r"t\.toml:\d+: .*'achi'.*\n  Did you mean 'ahci'\?"),
            (
                'size = "4 GiB"',
                'size = "4 Gb"',
                r"t\.toml:\d+: memory\.size: expected a size like \"256 MiB\", got '4 Gb'",
            ),
            (
                'size = "4 GiB"',
                'size = "4097 MiB"',
                r"memory\.size = '4097 MiB' is not a multiple of 128 MiB",
            ),
            (
                'maximum = "32 GiB"',
                'maximum = "1 GiB"',
                r"memory\.maximum = '1 GiB' is less than memory\.size",
            ),
            ("processors = 2", "processors = 9", r"topology\.processors = 9 is more than max_processors = 8"),
            ("cores = 1", "cores = 3", r"max_processors = 8 is not a multiple of cores = 3"),
            ("nodes = 1", "nodes = 8\ncores_ = 1", "unknown key 'cores_'"),
            (
                "cores = 1\nnodes = 1",
                "cores = 8\nnodes = 2",
                r"topology\.nodes = 2 is more than there are sockets",
            ),
            ("builds = [26100]", 'directory = "/tmp"', r"t\.toml:\d+: unknown key 'directory'"),
            ('name = "standard-core"', 'name = "datacenter-core"', "two editions have the same name"),
            ('status = "supported"', 'status = "known-broken"', "needs a reason and a link"),
            ("max_processors = 8", "max_processors = 256", r"t\.toml:\d+: .*of at most 255"),
            ('type = "pc-q35-7.2"', 'type = "q35"', r"t\.toml:\d+: "),
        ],
    )
    def test_refused(self, old: str, new: str, words: str) -> None:
        """Each by its own words."""
        with pytest.raises(BadDocument, match=words):
            self.decode(old, new)

    def test_folder_and_name(self, tmp_path: Path) -> None:
        """A folder and the template in it have one name."""
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "template.toml").write_text(self.TEXT)
        with pytest.raises(BadDocument, match="folder 'other' calls itself 'windows-server-2025'"):
            find_templates(tmp_path)


def test_unknown_template() -> None:
    """The names that exist are told, and the nearest."""
    with pytest.raises(
        UsageError, match=r"no template is called 'windows-server-2023'\n  Did you mean .*windows-11"
    ):
        find_template("windows-server-2023")


def test_unknown_edition() -> None:
    """The editions that exist are told."""
    with pytest.raises(UsageError, match=r"no edition called 'home'\n  .*standard-core, standard-desktop"):
        find_template("windows-server-2022").edition("home")
    assert "standard-core" == find_template("windows-server-2022").edition().name
