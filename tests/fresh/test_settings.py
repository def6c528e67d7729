# SPDX-License-Identifier: MIT
"""What a root takes over from a machine, here one that is laid out in a directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from tests.fresh.settings import outermost, paths_in, pip_settings, take

FILES = {
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\n',
    "etc/apt/sources.list": (
        "deb [signed-by=/keys/house.gpg] http://mirror.example/debian bookworm main\n"
        "deb file:/srv/mirror/debian bookworm main\n"
    ),
    "etc/apt/auth.conf.d/house.conf": "machine mirror.example login me password secret\n",
    "etc/resolv.conf": "nameserver 192.0.2.1\n",
    "etc/hosts": "192.0.2.2 mirror.example\n",
    "etc/pip.conf": "[global]\nindex-url = http://first.example\ncert = /keys/ca.pem\n",
    "home/me/.config/pip/pip.conf": (
        "[global]\nindex-url = file:///srv/pypi/simple\ncache-dir = /srv/cache\n[install]\nfind-links = /srv/wheels\n"
    ),
    "etc/ssl/certs/ca-certificates.crt": "the bundle\n",
    "usr/local/share/ca-certificates/house.crt": "the house\n",
    "keys/house.gpg": "a key\n",
    "keys/ca.pem": "an authority\n",
    "srv/pypi/simple/index.html": "",
    "srv/wheels/a.whl": "",
    "srv/cache/x": "",
    "srv/mirror/debian/dists": "",
}
ENVIRONMENT = {
    "HOME": "/home/me",
    "PIP_RETRIES": "7",
    "PIP_CACHE_DIR": "/srv/cache",
    "https_proxy": "http://proxy.example:3128",
    "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
    "SECRET": "no setting of pip",
}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_variables_of_pip_certificates_and_proxies_are_taken(machine: Path) -> None:
    """Where pip writes is not, nor is anything else of the environment."""
    taken = take(machine, ENVIRONMENT, "bookworm")
    assert {
        name: ENVIRONMENT[name] for name in ("PIP_RETRIES", "https_proxy", "SSL_CERT_FILE")
    } == taken.variables


def test_what_the_settings_name_goes_along(machine: Path) -> None:
    """Keys, authorities and passwords are copied; directories with packages are mounted, an index with what is beside it."""
    taken = take(machine, ENVIRONMENT, "bookworm")
    assert {"/keys/house.gpg": b"a key\n", "/keys/ca.pem": b"an authority\n"}.items() <= taken.keys.items()
    assert FILES["etc/apt/auth.conf.d/house.conf"].encode() == taken.keys["/etc/apt/auth.conf.d/house.conf"]
    assert ["/srv/mirror", "/srv/pypi", "/srv/wheels"] == taken.directories


def test_names_and_certificates_are_copied(machine: Path) -> None:
    """The bundle is also where the package that makes it looks for more."""
    files = take(machine, ENVIRONMENT, "bookworm").files
    local = "/usr/local/share/ca-certificates"
    assert [b"the bundle\n"] * 2 == [
        files["/etc/ssl/certs/ca-certificates.crt"],
        files[f"{local}/of-the-machine.crt"],
    ]
    assert b"the house\n" == files[f"{local}/house.crt"]
    assert [FILES[name].encode() for name in ("etc/resolv.conf", "etc/hosts")] == [
        files["/etc/resolv.conf"], files["/etc/hosts"]
    ]  # fmt: skip


def test_pips_files_become_one(machine: Path) -> None:
    """A user's file comes after that of the machine, as pip reads them."""
    text, values = pip_settings(machine, ENVIRONMENT)
    assert (
        "[global]\nindex-url = file:///srv/pypi/simple\ncert = /keys/ca.pem\n\n[install]\nfind-links = /srv/wheels\n\n"
    ) == text.decode()
    assert ["file:///srv/pypi/simple", "/keys/ca.pem", "/srv/wheels"] == values


def test_a_damaged_pip_file_is_named(machine: Path) -> None:
    """The message says which file it is."""
    (machine / "etc" / "pip.conf").write_text("index-url = x\n")
    with pytest.raises(InfrastructureError, match=r"etc/pip\.conf"):
        take(machine, ENVIRONMENT, "bookworm")


def test_a_machine_without_debians_archive_is_refused(machine: Path) -> None:
    """The message says what the machine runs and what is needed."""
    (machine / "etc" / "apt" / "sources.list").write_text("deb http://archive.example/ubuntu noble main\n")
    with pytest.raises(InfrastructureError, match=r"Debian GNU/Linux 12 .* leads to Debian") as caught:
        take(machine, ENVIRONMENT, "bookworm")
    assert "bookworm main" in caught.value.hint


def test_paths_are_found_in_urls_and_alone() -> None:
    """An address of the network has none; an index stands for the directory above it."""
    text = "/srv/a/ file:///srv/b/simple copy:/srv/c/d mirror+file:/etc/apt/list http://x/srv/e file:/f%20g relative/h"
    assert ["/srv/a", "/srv/b", "/srv/c", "/etc/apt", "/f g"] == list(paths_in(text))


def test_a_directory_in_another_is_not_mounted_twice() -> None:
    """Only a true part counts: a name that merely begins alike is another directory."""
    assert ["/srv/a", "/srv/ab"] == outermost(["/srv/a/b", "/srv/ab", "/srv/a", "/srv/a"])
