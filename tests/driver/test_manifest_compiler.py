# SPDX-License-Identifier: MIT
"""Manifests become the resources that Microsoft's compiler makes of them, byte for byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from driver.manifests import manifest
from driver.wevt_reader import read_messages, read_template
from given_data import given

from harness.driver.instrumentation.compiler import compile_manifest
from harness.errors import BadDocument

ROOT = Path(__file__).resolve().parents[2]

MADE_BY_MICROSOFT = {
    "guest_drivers/hpnotify/src/hpnotify.man": (
        "8b05a5fe43922875a8e88fbe09110413e3062f851fe90ccc821355b12a644bc7",
        "12e5019c75899f15d9d8d92ae0b817c27c2c0ef649e9c1f505ea5dbfab854014",
    ),
    "guest_drivers/tiny/tiny.man": (
        "ac5143ad93637e0f4a4049cc63aae780d285cadf538c878383da7c77ae3affe1",
        "5559d1e286381f0d8ca4d5137e0b73fce13299025380f0ac03afae240ac08187",
    ),
}
"""SHA-256 of what mc.exe 10.0.26100 made of the project's own manifests: WEVT_TEMPLATE, message table."""


@pytest.mark.parametrize("path", given("wevt", "*.man"))
def test_the_resources_are_microsofts(path: Path) -> None:
    """Every given manifest gives the bytes that mc.exe made of it."""
    compiled = compile_manifest(path.read_bytes(), path.name)
    expected = [path.with_suffix(f".{kind}.bin").read_bytes() for kind in ("wevt_template", "message_table")]
    assert expected == [compiled.template, *compiled.tables.values()]


@pytest.mark.parametrize("path", given("wevt", "refused/*.man"))
def test_what_microsoft_refuses_is_refused(path: Path) -> None:
    """Every manifest that mc.exe refuses is refused with file, line, element and a way out."""
    with pytest.raises(BadDocument, match=rf"^{path.name}:3: <\w+ \w+=\".*\">: .") as caught:
        compile_manifest(path.read_bytes(), path.name)
    assert caught.value.hint


@pytest.mark.parametrize("name", MADE_BY_MICROSOFT)
def test_the_projects_own_manifests(name: str) -> None:
    """The manifests of the project's drivers give what mc.exe made of them, wherever the test runs."""
    compiled = compile_manifest((ROOT / name).read_bytes(), name)
    made = compiled.template, compiled.tables["en-US"]
    assert MADE_BY_MICROSOFT[name] == tuple(hashlib.sha256(each).hexdigest() for each in made)


def test_several_languages() -> None:
    """Each language has a table of its own; texts of Windows' vocabulary are in every one."""
    german = (
        '<resources culture="de-DE"><stringTable><string id="e" value="geladen"/></stringTable></resources>'
    )
    compiled = compile_manifest(
        manifest(
            '<events><event value="1" level="win:Error" message="$(string.e)"/></events>',
            '<string id="e" value="loaded"/><string id="unused" value="x"/>',
            languages=german,
        ),
        "made.man",
    )
    found = {culture: read_messages(table) for culture, table in compiled.tables.items()}
    assert {
        "en-US": {0x50000002: "Error", 0xB0000001: "loaded"},
        "de-DE": {0x50000002: "Error", 0xB0000001: "geladen"},
    } == found


def test_numbers_of_the_message_table_win() -> None:
    """A string that the manifest numbers keeps its number, and every use of it has it."""
    data = manifest(
        '<events><event value="1" message="$(string.e)"/></events>', '<string id="e" value="loaded"/>'
    ).replace(
        b"<provider", b'<messageTable><message value="77" message="$(string.e)"/></messageTable><provider', 1
    )
    compiled = compile_manifest(data, "made.man")
    assert {77: "loaded"} == read_messages(compiled.tables["en-US"])
    assert [77] == [event["message"] for event in read_template(compiled.template)[0]["EVNT"]]


def test_without_a_text_there_is_no_table() -> None:
    """A manifest in which nothing has a text gives no message table, as mc.exe does."""
    assert {} == compile_manifest(manifest('<events><event value="1"/></events>'), "made.man").tables


def test_utf_16_is_read() -> None:
    """A manifest in UTF-16, as Microsoft's editor saves it, gives the same bytes."""
    data = manifest('<events><event value="1" level="win:Error"/></events>')
    wide = data.decode().replace('encoding="utf-8"', 'encoding="utf-16"').encode("utf-16")
    assert compile_manifest(data, "a").template == compile_manifest(wide, "a").template
