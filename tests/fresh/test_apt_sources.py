# SPDX-License-Identifier: MIT
"""APT sources, in both formats that sources.list(5) documents, for the machine's own release and for another."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fresh.apt_sources import acquire_options, sources, stanzas, text_of

DEB822 = """\
Types: deb deb-src
# The mirror of the house.
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://tools.example/apt
Suites: nodistro
Components: main

Types: deb
URIs: http://tools.example/debian
Suites: bookworm
Components: stable

Enabled: no
Types: deb
URIs: http://mirror.example/backports
Suites: bookworm-backports
Components: main
"""
ONE_LINE = """\
# deb http://old.example/debian bookworm main
deb cdrom:[Debian GNU/Linux 12]/ bookworm main
deb [arch=amd64,i386 signed-by=/keys/house.gpg] http://mirror.example/debian bookworm main non-free # fast
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/security bookworm/updates main
"""


def machine(place: Path, name: str, text: str) -> Path:
    """Make a machine that has one file of apt sources."""
    path = place / "etc" / "apt" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return place


def test_a_deb822_file_keeps_what_leads_to_debian(tmp_path: Path) -> None:
    """Other archives, source packages and entries that are switched off are left out; an embedded key is kept."""
    found = sources(machine(tmp_path, "sources.list.d/debian.sources", DEB822), "bookworm", "bookworm")
    assert [
        ("http://mirror.example/debian", "bookworm bookworm-updates"),
        ("http://mirror.example/security", "bookworm-security"),
    ] == [(entry["Uris"], entry["Suites"]) for entry in found]
    assert {"deb"} == {entry["Types"] for entry in found}
    assert found[0]["Signed-By"].endswith("\n .\n mQINBF")


def test_a_one_line_file_is_rewritten(tmp_path: Path) -> None:
    """Options become fields; comments, media and source packages are left out."""
    found = sources(machine(tmp_path, "sources.list", ONE_LINE), "bookworm", "bookworm")
    assert [
        {
            "Types": "deb",
            "Uris": "http://mirror.example/debian",
            "Suites": "bookworm",
            "Components": "main non-free",
            "Architectures": "amd64 i386",
            "Signed-By": "/keys/house.gpg",
        },
        {
            "Types": "deb",
            "Uris": "http://mirror.example/security",
            "Suites": "bookworm/updates",
            "Components": "main",
        },
    ] == found


def test_another_release_takes_the_place_of_the_machines_own(tmp_path: Path) -> None:
    """Each suite keeps what follows the codename."""
    found = sources(machine(tmp_path, "sources.list.d/debian.sources", DEB822), "bookworm", "trixie")
    assert ["trixie trixie-updates", "trixie-security"] == [entry["Suites"] for entry in found]


@pytest.mark.parametrize("name", ["debian.sources.disabled", "debian.list.save", "notes"])
def test_a_file_that_apt_does_not_read_is_not_read(tmp_path: Path, name: str) -> None:
    """Only the endings .list and .sources count: sources.list(5)."""
    assert [] == sources(machine(tmp_path, f"sources.list.d/{name}", DEB822), "bookworm", "bookworm")


WORDS = st.text("abc:/.-", min_size=1).map(lambda word: f"x{word}")
ENTRIES = st.lists(
    st.dictionaries(st.sampled_from(["Types", "Uris", "Suites", "Signed-By"]), WORDS, min_size=1), max_size=4
)


@given(ENTRIES)
def test_what_is_written_is_read_back(entries: list[dict[str, str]]) -> None:
    """The text of entries has these entries."""
    assert entries == list(stanzas(text_of(entries)))


@given(st.text())
def test_no_file_is_too_strange_to_read(text: str) -> None:
    """A damaged file has entries or none; it is no reason to stop."""
    assert all(isinstance(entry, dict) for entry in stanzas(text))


def test_how_packages_are_fetched_is_taken_from_apts_configuration() -> None:
    """Proxies, retries and list items are; empty values, tables of formats and other sections are not."""
    dump = (
        'APT::Architecture "amd64";\nAcquire "";\nAcquire::http::Proxy "http://proxy.example:3128";\n'
        'Acquire::Retries "3";\nAcquire::Languages:: "none";\nAcquire::IndexTargets::deb::Packages::Optional "0";\n'
        'Acquire::CompressionTypes::xz "xz";\nAcquire::cdrom::mount "/media/cdrom/";\n'
        'DPkg::Post-Invoke:: "rm -f /x";\n'
    )
    assert (
        'Acquire::http::Proxy "http://proxy.example:3128";\nAcquire::Retries "3";\nAcquire::Languages:: "none";\n'
    ) == acquire_options(dump)
