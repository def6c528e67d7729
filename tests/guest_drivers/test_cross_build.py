# SPDX-License-Identifier: MIT
"""The driver as a file for Windows: built by two compilers, checked, signed. Nothing here was loaded by Windows."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pefile
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import __version__
from harness.cli import driver as command
from harness.deadline import Deadline
from harness.driver import certificate, manifest, source
from harness.driver.build import TOOLCHAINS, build
from harness.driver.certificate import Certificate
from harness.driver.image import CHECKS, check_image, set_checksum
from harness.driver.instrumentation.compiler import compile_manifest
from harness.driver.manifest import LABEL, DriverManifest
from harness.driver.resources import write_resources
from harness.driver.signature import check_signature, sign
from harness.driver.version_resource import parse_version
from harness.errors import BadDocument, ExitCode, InfrastructureError, UsageError

WRITABLE = 0x80000000


def soon(what: str = "the test") -> Deadline:
    return Deadline(120, what)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate.ensure(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def image(built: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the unsigned driver, to be spoilt."""
    return Path(shutil.copy(built["gcc"], tmp_path / "hpnotify.sys"))


def copied_sources(folder: Path) -> Path:
    """A copy of what the cross build needs."""
    for name in ("src", "kmdf", "cross", "tools"):
        shutil.copytree(source.driver_folder() / name, folder / name)
    return folder / "cross"


def make(cross: Path, out: Path, *variables: str) -> subprocess.CompletedProcess[str]:
    """Run the Makefile itself, as a driver writer would."""
    return subprocess.run(
        ["make", "-s", "-j2", "-C", str(cross), f"OUT={out}", "KMDF_INC=", *variables],
        capture_output=True,
        text=True,
        timeout=100,
    )


def parsed(image: Path) -> pefile.PE:
    """An image to be changed; what is parsed further would be written back over the change."""
    pe = pefile.PE(data=image.read_bytes(), fast_load=True)
    pe.parse_data_directories([pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_IMPORT"]])
    return pe


def wrong(path: Path) -> dict[str, str]:
    """The checks that an image fails, with what they say."""
    return {check.name: check.detail for check in check_image(path) if not check.ok}


@pytest.mark.wine
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_what_is_built_is_right(built: dict[str, Path], toolchain: str) -> None:
    """Each compiler's image passes every check, and its manifest says what it is no evidence of."""
    path = built[toolchain]
    record = msgspec.json.decode(manifest.path_of(path).read_bytes(), type=DriverManifest)
    assert {} == wrong(path)
    assert (LABEL, toolchain, "own", "1.15", "") == (
        record.label, record.toolchain, record.declarations, record.kmdf, record.signer,
    )  # fmt: skip
    assert manifest.digest(path) == record.sha256[path.name]
    assert toolchain in record.compiler.lower()


@pytest.mark.wine
def test_same_bytes_wherever_and_whenever(built: dict[str, Path], tmp_path: Path) -> None:
    """A second build, of a copy of the sources in another folder, has the same bytes."""
    cross = copied_sources(tmp_path / "elsewhere")
    write_resources(cross.parent, tmp_path)
    done = make(cross, tmp_path / "out", "TOOLCHAIN=clang", f"RESOURCES={tmp_path}")
    assert (0, "") == (done.returncode, done.stderr)
    set_checksum(tmp_path / "out" / "hpnotify.sys")
    for name in ("hpnotify.sys", "hpnotify.pdb"):
        assert built["clang"].with_name(name).read_bytes() == (tmp_path / "out" / name).read_bytes()


@pytest.mark.wine
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
@pytest.mark.parametrize("signed_too", [False, True])
def test_resources_are_read_back(
    built: dict[str, Path], signed: dict[str, Path], toolchain: str, signed_too: bool
) -> None:
    """The images have the compiled manifest and their version, before and after they are signed."""
    path = (signed if signed_too else built)[toolchain]
    compiled = compile_manifest(
        (source.driver_folder() / "src" / "hpnotify.man").read_bytes(), "hpnotify.man"
    )
    found = {}
    for name in ("hpnotify.sys", "hpnctl.exe"):
        pe = pefile.PE(path.with_name(name))
        for kind in pe.DIRECTORY_ENTRY_RESOURCE.entries:
            (number,) = kind.directory.entries
            (language,) = number.directory.entries
            data = pe.get_data(language.data.struct.OffsetToData, language.data.struct.Size)
            found[name, str(kind.name or kind.id), number.id, language.id] = data
        strings = pe.FileInfo[0][0].StringTable[0].entries
        assert (name.encode(), __version__.encode()) == (
            strings[b"OriginalFilename"],
            strings[b"FileVersion"],
        )
        fixed = pe.VS_FIXEDFILEINFO[0]
        assert parse_version(__version__) == (
            fixed.FileVersionMS >> 16, fixed.FileVersionMS & 0xFFFF, fixed.FileVersionLS >> 16, fixed.FileVersionLS & 0xFFFF,
        )  # fmt: skip
    assert compiled.template == found["hpnotify.sys", "WEVT_TEMPLATE", 1, 0]
    assert compiled.tables["en-US"] == found["hpnotify.sys", "11", 1, 0x409]
    assert {("hpnotify.sys", "16", 1, 0x409), ("hpnctl.exe", "16", 1, 0x409)} <= set(found)
    assert 4 == len(found)


@pytest.mark.wine
def test_declarations_that_disagree_do_not_compile(tmp_path: Path) -> None:
    """An index or a layout that differs from what is written down fails the build, in our headers and in others."""
    cross = copied_sources(tmp_path / "copy")
    calls, types = cross / "kmdf" / "wdf.h", cross.parent / "kmdf" / "wdf_core.h"
    given_headers = tmp_path / "wdk"
    for header, old, new in [
        (calls, "WdfMemoryCreateTableIndex = 192", "WdfMemoryCreateTableIndex = 193"),
        (types, "    BOOLEAN DefaultQueue;\n", "    ULONG DefaultQueue;\n"),
    ]:
        right = header.read_text()
        assert 1 == right.count(old)
        header.write_text(right.replace(old, new))
        for folder in (calls.parent, types.parent):
            shutil.copytree(folder, given_headers, dirs_exist_ok=True)
        facts = make(cross, tmp_path / "out", f"{tmp_path}/out/cross/facts.o")
        others = make(
            cross, tmp_path / "other", f"{tmp_path}/other/cross/facts.o", f"KMDF_INC={given_headers}"
        )
        assert (2, 2) == (facts.returncode, others.returncode)
        assert "facts.c" in facts.stderr
        assert "facts.c" in others.stderr
        header.write_text(right)


@pytest.mark.wine
def test_headers_of_a_wdk(built: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KMDF_INC's headers are used, even where they name one another in other letters than their files have.

    With the same declarations the bytes are those of a build without it, which makes this gcc's second build too. Its
    linker does not tell its version here.
    """
    linker = TOOLCHAINS["gcc"].linker
    mute = tmp_path / "bin" / linker
    mute.parent.mkdir()
    mute.write_text(f'#!/bin/sh\n[ "$1" = --version ] || exec {shutil.which(linker)} "$@"\n')
    mute.chmod(0o755)
    monkeypatch.setenv("PATH", f"{mute.parent}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "wdk"
    folder.mkdir()
    text = (source.driver_folder() / "cross" / "kmdf" / "wdf.h").read_text()
    shutil.copytree(source.driver_folder() / "kmdf", folder, dirs_exist_ok=True)
    (folder / "rest.h").write_text(text)
    (folder / "wdf.h").write_text('#include "ReST.h"\n')
    path, record = build(tmp_path / "out", soon(), toolchain="gcc", kmdf_inc=folder)
    assert ("KMDF_INC", "") == (record.declarations, record.linker)
    assert built["gcc"].read_bytes() == path.read_bytes()


@(
    # Not both: --require wine asks nobody for Microsoft's headers.
    pytest.mark.wine
    if os.environ.get("KMDF_INC")
    else pytest.mark.skip(reason="KMDF_INC names no folder with Microsoft's wdf.h")
)
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_microsofts_own_headers(built: dict[str, Path], tmp_path: Path, toolchain: str) -> None:
    """Built with Microsoft's declarations instead of ours, the driver has the same code and data."""
    path, _ = build(tmp_path, soon(), toolchain=toolchain, kmdf_inc=Path(os.environ["KMDF_INC"]))
    ours, theirs = (
        {section.Name: section.get_data() for section in pefile.PE(str(one)).sections}
        for one in (built[toolchain], path)
    )
    assert [(name, ours[name]) for name in (b".text\0\0\0", b".rdata\0\0", b".data\0\0\0")] == [
        (name, theirs[name]) for name in (b".text\0\0\0", b".rdata\0\0", b".data\0\0\0")
    ]


@pytest.mark.wine
def test_allowed_imports_exist() -> None:
    """Every name in our lists is one that mingw-w64 knows of the same library."""
    known: set[tuple[str, str]] = set()
    for library, name in (("ntoskrnl.exe", "ntoskrnl"), ("hal.dll", "hal")):
        archive = Path(f"/usr/x86_64-w64-mingw32/lib/lib{name}.a")
        listed = subprocess.run(
            ["x86_64-w64-mingw32-nm", archive], capture_output=True, text=True, check=True
        ).stdout
        known |= {
            (library, words[2]) for line in listed.splitlines() if (words := line.split())[1:2] == ["T"]
        }
    allowed = {(library, name) for library, names in source.allowed_imports().items() for name in names}
    strays = {name for library, name in allowed - known if library != "wdfldr.sys"}
    assert set() == strays


def _machine(pe: pefile.PE) -> None:
    pe.FILE_HEADER.Machine = 0xAA64


def _subsystem(pe: pefile.PE) -> None:
    pe.OPTIONAL_HEADER.Subsystem = 3


def _unknown_function(pe: pefile.PE) -> None:
    entry = pe.DIRECTORY_ENTRY_IMPORT[1].imports[0]
    pe.set_bytes_at_rva(pe.get_rva_from_offset(entry.name_offset), b"Zb")


def _unknown_library(pe: pefile.PE) -> None:
    pe.set_bytes_at_rva(pe.DIRECTORY_ENTRY_IMPORT[0].struct.Name, b"KAL")


def _no_imports(pe: pefile.PE) -> None:
    pe.OPTIONAL_HEADER.DATA_DIRECTORY[1].VirtualAddress = 0
    pe.OPTIONAL_HEADER.DATA_DIRECTORY[1].Size = 0


def _no_relocations(pe: pefile.PE) -> None:
    pe.OPTIONAL_HEADER.DATA_DIRECTORY[5].Size = 0


def _stripped(pe: pefile.PE) -> None:
    pe.FILE_HEADER.Characteristics |= 1


def _no_unwind(pe: pefile.PE) -> None:
    pe.OPTIONAL_HEADER.DATA_DIRECTORY[3].VirtualAddress = 0
    pe.OPTIONAL_HEADER.DATA_DIRECTORY[3].Size = 0


def _unwind_of_data(pe: pefile.PE) -> None:
    data = next(section for section in pe.sections if section.Name.startswith(b".rdata"))
    pe.set_dword_at_rva(pe.OPTIONAL_HEADER.DATA_DIRECTORY[3].VirtualAddress, data.VirtualAddress)


def _unwind_without_the_entry(pe: pefile.PE) -> None:
    pe.OPTIONAL_HEADER.DATA_DIRECTORY[3].Size = 12


def _writable_code(pe: pefile.PE) -> None:
    pe.sections[0].Characteristics |= WRITABLE


def _executable_stack(pe: pefile.PE) -> None:
    pe.OPTIONAL_HEADER.DllCharacteristics &= ~0x0100


def _fixed_base(pe: pefile.PE) -> None:
    pe.OPTIONAL_HEADER.DllCharacteristics &= ~0x0040


def _no_resources(pe: pefile.PE) -> None:
    pe.OPTIONAL_HEADER.DATA_DIRECTORY[2].VirtualAddress = 0
    pe.OPTIONAL_HEADER.DATA_DIRECTORY[2].Size = 0


def _version_under_another_number(pe: pefile.PE) -> None:
    start = pe.OPTIONAL_HEADER.DATA_DIRECTORY[2].VirtualAddress
    rows = [start + 16 + 8 * index for index in range(3)]
    (version,) = (row for row in rows if pe.get_dword_at_rva(row) == 16)
    pe.set_dword_at_rva(version, 17)


def _descriptions_of_nothing(pe: pefile.PE) -> None:
    pe.set_bytes_at_offset(pe.__data__.find(b"CRIM"), b"CRAM")


SPOILERS: list[tuple[Callable[[pefile.PE], None], str, str]] = [
    (_machine, "machine", "0xaa64"),
    (_subsystem, "subsystem", "is 3"),
    (_unknown_function, "imports", "!Zb"),
    (_unknown_library, "imports", "KAL.dll!"),
    (_no_imports, "imports", "there are none"),
    (_no_relocations, "relocations", "there are none"),
    (_stripped, "relocations", "there are none"),
    (_no_unwind, "unwind information", "there is none"),
    (_unwind_of_data, "unwind information", "where there is no code"),
    (_unwind_without_the_entry, "unwind information", "none covers the entry point"),
    (_writable_code, "sections", ".text"),
    (_executable_stack, "hardening", "NX_COMPAT"),
    (_fixed_base, "hardening", "DYNAMIC_BASE"),
    (_no_resources, "resources", "lacks a version, a message table, event descriptions"),
    (_version_under_another_number, "resources", "lacks a version, so that"),
    (_descriptions_of_nothing, "resources", "its WEVT_TEMPLATE is cut or invalid"),
]


@pytest.mark.wine
@pytest.mark.parametrize(("spoil", "name", "said"), SPOILERS, ids=lambda one: getattr(one, "__name__", None))
def test_every_check_can_fail(image: Path, spoil: Callable[[pefile.PE], None], name: str, said: str) -> None:
    """An image with one thing wrong fails exactly the check of that thing, which says what it is."""
    pe = parsed(image)
    spoil(pe)
    image.write_bytes(pe.write())
    set_checksum(image)
    found = wrong(image)
    assert [name] == list(found)
    assert said in found[name]


@pytest.mark.wine
def test_entry_point_out_of_code(image: Path) -> None:
    """An entry point in data is seen by its own check and by the one of unwind information."""
    pe = parsed(image)
    pe.OPTIONAL_HEADER.AddressOfEntryPoint = pe.sections[2].VirtualAddress
    image.write_bytes(pe.write())
    set_checksum(image)
    assert ["unwind information", "entry point"] == list(wrong(image))


@pytest.mark.wine
def test_wrong_checksum(image: Path) -> None:
    """One changed byte makes the checksum wrong."""
    data = bytearray(image.read_bytes())
    data[0x500] ^= 1
    image.write_bytes(data)
    assert ["checksum"] == list(wrong(image))


def test_every_check_has_a_test_that_fails_it() -> None:
    """The spoilers above, and the two tests after them, cover all checks."""
    assert set(CHECKS) == {name for _, name, _ in SPOILERS} | {"entry point", "checksum"}


@pytest.mark.wine
@settings(max_examples=examples(20))
@given(
    edits=st.lists(st.tuples(st.integers(0, 0x7FF), st.integers(0, 255)), max_size=12),
    cut=st.integers(0, 30000),
)
def test_hostile_images_only_fail_checks(
    built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], cut: int
) -> None:
    """Whatever the headers say, the answer is a list of checks or a refusal."""
    data = bytearray(built["gcc"].read_bytes()[: cut if cut > 64 else None])
    for offset, value in edits:
        data[offset % len(data)] = value
    path = tmp_path_factory.mktemp("hostile") / "hpnotify.sys"
    path.write_bytes(data)
    try:
        names = [check.name for check in check_image(path)]
    except UsageError:
        return
    assert list(CHECKS) == names


@pytest.mark.wine
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_signing(built: dict[str, Path], tmp_path: Path, keys: Certificate, toolchain: str) -> None:
    """A signed driver verifies against its certificate and without one, and its manifest knows its new bytes."""
    for file in (built[toolchain], manifest.path_of(built[toolchain])):
        shutil.copy(file, tmp_path)
    path = tmp_path / "hpnotify.sys"
    assert "there is none" == check_signature(path, None, soon()).detail
    assert "there is none" == check_signature(path, keys.pem, soon()).detail
    sign(path, keys, soon())
    record = manifest.load(path)
    assert record is not None
    assert [True, True] == [check_signature(path, pem, soon()).ok for pem in (keys.pem, None)]
    assert {} == wrong(path)
    assert (manifest.digest(path), certificate.fingerprint(keys.pem)) == (
        record.sha256["hpnotify.sys"], record.signer,
    )  # fmt: skip


@pytest.mark.wine
def test_signing_again_replaces_the_signature(image: Path, keys: Certificate, tmp_path: Path) -> None:
    """A second signer takes the first one's place."""
    other = certificate.ensure(tmp_path / "other")
    sign(image, keys, soon())
    sign(image, other, soon())
    assert [True, False] == [check_signature(image, one.pem, soon()).ok for one in (other, keys)]


@pytest.mark.wine
def test_signatures_that_do_not_hold(image: Path, keys: Certificate, tmp_path: Path) -> None:
    """A changed byte, another's certificate and missing page hashes are each refused."""
    sign(image, keys, soon())
    other = certificate.ensure(tmp_path / "other")
    assert not check_signature(image, other.pem, soon()).ok
    data = bytearray(image.read_bytes())
    data[0x500] ^= 1
    changed = tmp_path / "changed.sys"
    changed.write_bytes(data)
    assert "does not verify" in check_signature(changed, keys.pem, soon()).detail
    bare = tmp_path / "bare.sys"
    subprocess.run(
        ["osslsigncode", "sign", "-h", "sha256", "-certs", keys.pem, "-key", keys.key, "-in", image, "-out", bare],
        check=True, capture_output=True,
    )  # fmt: skip
    assert "verifies, but has no page hashes" == check_signature(bare, keys.pem, soon()).detail


@pytest.mark.wine
def test_key_of_another_certificate(image: Path, keys: Certificate, tmp_path: Path) -> None:
    """Signing with a key that does not belong to the certificate fails and leaves the file as it was."""
    before = image.read_bytes()
    other = certificate.ensure(tmp_path / "other")
    with pytest.raises(InfrastructureError, match="could not sign"):
        sign(image, Certificate(keys.pem, other.key), soon())
    assert before == image.read_bytes()
    assert ["hpnotify.sys", "other"] == sorted(path.name for path in tmp_path.iterdir())


def test_the_key_is_for_its_owner_only(tmp_path: Path) -> None:
    """A made key can be read by nobody else, and is made once."""
    made = certificate.ensure(tmp_path / "keys")
    first = made.key.read_bytes()
    assert 0o600 == made.key.stat().st_mode & 0o777
    assert first == certificate.ensure(tmp_path / "keys").key.read_bytes()
    assert made.der.is_file()


@pytest.mark.parametrize("data", [b"", b"MZ", b"no image at all", b"MZ" + bytes(4096)])
def test_files_that_are_no_image(tmp_path: Path, data: bytes) -> None:
    """What is no image is refused in words."""
    path = tmp_path / "hpnotify.sys"
    path.write_bytes(data)
    with pytest.raises(UsageError, match="not an image that Windows could load"):
        check_image(path)


def test_files_that_cannot_be_looked_at(tmp_path: Path) -> None:
    """A file that is missing, or larger than any driver, is refused before it is read."""
    with pytest.raises(UsageError, match="No such file"):
        check_image(tmp_path / "none.sys")
    large = tmp_path / "large.sys"
    with large.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="too many for a driver"):
        check_image(large)


def test_manifest_of_something_else(tmp_path: Path) -> None:
    """A file in the manifest's place that is none is refused."""
    (tmp_path / "hpnotify.json").write_text('{"label": 1}')
    with pytest.raises(BadDocument, match="not a manifest"):
        manifest.load(tmp_path / "hpnotify.sys")


def test_wrong_orders(tmp_path: Path) -> None:
    """A toolchain that is none, headers that are not there, a certificate without its key: each is refused."""
    with pytest.raises(UsageError, match="no toolchain is called 'msvc'"):
        build(tmp_path, soon(), toolchain="msvc")
    with pytest.raises(UsageError, match=r"there is no wdf\.h"):
        build(tmp_path, soon(), kmdf_inc=tmp_path)
    with pytest.raises(UsageError, match="without its key"):
        command.sign(tmp_path / "x", certificate=tmp_path / "y")


@pytest.mark.wine
def test_the_commands(built: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sign, check and a damaged file: what the commands say and the codes they end with."""
    for file in (built["gcc"], manifest.path_of(built["gcc"])):
        shutil.copy(file, tmp_path)
    path = tmp_path / "hpnotify.sys"
    assert ExitCode.HOLDS == command.check(path, unsigned=True)
    assert LABEL in capsys.readouterr().out
    assert ExitCode.VIOLATED == command.check(path)
    command.sign(path)
    assert ExitCode.HOLDS == command.check(path, certificate=tmp_path / "keys" / "hpnotify-test.pem")
    capsys.readouterr()
    path.write_bytes(path.read_bytes() + b"\0" * 8)
    assert ExitCode.VIOLATED == command.check(path, json=True)
    report = msgspec.json.decode(capsys.readouterr().out)
    assert False is report["ok"]
    assert "manifest" in [check["name"] for check in report["checks"] if not check["ok"]]
