# SPDX-License-Identifier: MIT
"""Settings: what a fresh root takes over from the machine so that it reaches the same package archives.

That is apt's sources, keys and fetch options, the resolver, the certificates, pip's settings and the proxies. What they
name goes along: a file is copied to the same path, a directory of packages is mounted there, read-only. Where pip writes
(its cache, its log) is not taken over.
"""

from __future__ import annotations

import configparser
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.program import run_program
from harness.setup.debian import Distribution
from tests.fresh.apt_sources import acquire_options, sources, text_of

VARIABLES = re.compile(
    r"PIP_\w+|(https?|ftp|all|no)_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE", re.IGNORECASE
)
WRITTEN = {
    "cache-dir", "config-file", "log", "log-file", "prefix", "python", "root", "src", "target", "user", "report",
}  # fmt: skip
"""Options of pip that name what it writes or where it installs."""
PIP_FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
"""In the order in which pip reads them: pip, "Configuration"."""
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
LOCAL = "/usr/local/share/ca-certificates"
"""The package ca-certificates makes the bundle from what lies here, too."""
LARGEST = 16 << 20
"""Bytes of a settings file."""


class Settings(NamedTuple):
    """What to put into a root. Files are by their path in it, as are the directories to mount."""

    sources: str
    """APT sources in deb822 format."""
    fetching: str
    """Options of apt.conf(5)."""
    keys: dict[str, bytes]
    """Files that apt needs from the very first."""
    files: dict[str, bytes]
    directories: list[str]
    variables: dict[str, str]


def codename_of(machine: Path) -> str:
    """Return the codename in the machine's ``/etc/os-release``, "" if it has none."""
    release = machine / "etc" / "os-release"
    found = re.search(
        r'^VERSION_CODENAME="?(\w+)', release.read_text() if release.exists() else "", re.MULTILINE
    )
    return found[1] if found else ""


def take(machine: Path, environment: Mapping[str, str], suite: str) -> Settings:
    """Return the settings of the machine at ``machine`` for a root with Debian's release ``suite``.

    Raises InfrastructureError if none of its apt sources leads to Debian.
    """
    codename = codename_of(machine)
    entries = sources(machine, codename, suite) if codename else []
    if not entries:
        raise InfrastructureError(
            f"no apt source of this machine ({Distribution(machine / 'etc' / 'os-release').name}) leads to Debian",
            hint=f"Run this on Debian 12 or 13, with an entry for {codename or 'its release'} main in /etc/apt.",
        )
    dump = run_program(["apt-config", "dump"], Deadline(30, "reading apt's options")).output
    pip, options = pip_settings(machine, environment)
    variables = {
        name: value
        for name, value in environment.items()
        if VARIABLES.fullmatch(name) and _option(name) not in WRITTEN
    }
    fetching = acquire_options(dump)
    apt = machine / "etc" / "apt"
    keys = [path for pattern in ("auth.conf*", "auth.conf.d/*", "trusted.gpg*", "trusted.gpg.d/*", "keyrings/*")
            for path in apt.glob(pattern)]  # fmt: skip
    apt_values = [value for entry in entries for value in entry.values()] + re.findall('"(.*)"', fetching)
    named = list(paths_in(" ".join([*apt_values, *options, *variables.values()])))
    folders = [each for each in named if (machine / each[1:]).is_dir()]
    taken = {
        f"/{path.relative_to(machine)}": path.read_bytes()
        for path in [*keys, *(machine / each[1:] for each in named)]
        if _readable(path)
    }
    return Settings(
        sources=text_of(entries),
        fetching=fetching,
        keys=taken,
        files={
            **certificates(machine, [each for each in folders if each.startswith("/etc/")]),
            **({"/etc/pip.conf": pip} if pip else {}),
            **names(machine),
        },
        directories=outermost(each for each in folders if not each.startswith("/etc/")),
        variables=variables,
    )


def _option(variable: str) -> str:
    """Return the name of pip's option that a variable sets."""
    return variable.lower().removeprefix("pip_").replace("_", "-")


def _readable(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= LARGEST


def pip_settings(machine: Path, environment: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """Return pip's files as one, without what names where it writes, and the values in it; no bytes if there is none."""
    home = environment.get("HOME", "/root")
    names = [name.replace("~", home) for name in PIP_FILES] + [environment.get("PIP_CONFIG_FILE", "")]
    merged = configparser.RawConfigParser()
    for name in names:
        path = machine / name.lstrip("/")
        if name and _readable(path):
            try:
                merged.read_string(path.read_text(encoding="utf-8", errors="replace"))
            except configparser.Error as error:
                raise InfrastructureError(
                    f"cannot read pip's settings in {path}: {error}", hint="Correct the file."
                ) from error
    for section in merged.sections():
        for option in merged.options(section):
            if option.replace("_", "-") in WRITTEN:
                merged.remove_option(section, option)
    values = [value for section in merged.sections() for _, value in merged.items(section)]
    text = io.StringIO()
    merged.write(text)
    return text.getvalue().encode(), values


def paths_in(text: str) -> Iterator[str]:
    """Yield the absolute paths among the words of a text: as they are, or in a ``file:`` or ``copy:`` URL.

    An index of packages leads to files beside it, so that the directory above the one in a URL is named instead, unless
    it stands directly below the root.
    """
    for word in text.split():
        scheme, _, rest = word.rpartition(":")
        if word.startswith("/"):
            yield word.rstrip("/")
        elif scheme.rpartition("+")[2] in ("file", "copy") and rest.startswith("/"):
            path = Path(unquote(urlsplit(f"file:{rest}").path))
            yield str(path if len(path.parts) < 4 else path.parent)


def outermost(directories: Iterable[str]) -> list[str]:
    """Return those directories that are in no other one, each once."""
    wanted = {Path(each) for each in directories}
    return sorted(str(each) for each in wanted if wanted.isdisjoint(each.parents))


def certificates(machine: Path, folders: list[str]) -> dict[str, bytes]:
    """Return the certificates that the machine trusts, and those in ``folders`` unless they are made from these.

    The bundle is there twice, so that it outlives the installation of the package that makes it.
    """
    found: dict[str, bytes] = {}
    for folder in (LOCAL, *(each for each in folders if each != str(Path(BUNDLE).parent))):
        for path in sorted((machine / folder[1:]).glob("*")):
            if _readable(path):
                found[f"{folder}/{path.name}"] = path.read_bytes()
    bundle = machine / BUNDLE[1:]
    if _readable(bundle):
        found |= {BUNDLE: bundle.read_bytes(), f"{LOCAL}/of-the-machine.crt": bundle.read_bytes()}
    return found


def names(machine: Path) -> dict[str, bytes]:
    """Return the files by which the machine resolves names."""
    paths = {name: machine / name[1:] for name in ("/etc/resolv.conf", "/etc/hosts")}
    return {name: path.read_bytes() for name, path in paths.items() if _readable(path)}
