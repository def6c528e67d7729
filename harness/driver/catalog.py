# SPDX-License-Identifier: MIT
"""Catalogs: the list of a driver package's files by their hashes. Windows requires it to be signed.

A catalog is a certificate trust list in PKCS#7 (W32:seccrypto/certificate-trust-list-overview.md). Its content is that of
Microsoft's makecat, version 2. Each file has its SHA-256, for images the hash of Authenticode, which leaves out checksum
and signature, and its SHA-1, for systems that look for that. OSAttr and OS name the Windows versions (WD:
devtest/inf2cat.md). Nothing in it is random and its date is the package's: the same files give the same bytes.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.driver import der, manifest
from harness.driver.certificate import Certificate
from harness.driver.image import PeImage
from harness.driver.package_inf import PackageInf, read_inf
from harness.driver.signature import sign, signed_copy
from harness.errors import UsageError, system_errors

SIGNED_DATA = "1.2.840.113549.1.7.2"
TRUST_LIST = "1.3.6.1.4.1.311.10.1"
CATALOG_LIST, MEMBER_VERSION_2 = "1.3.6.1.4.1.311.12.1.1", "1.3.6.1.4.1.311.12.1.3"
NAME_VALUE, MEMBER_INFO_2 = "1.3.6.1.4.1.311.12.2.1", "1.3.6.1.4.1.311.12.2.3"
INDIRECT_DATA, IMAGE_DATA, FILE_LINK = (
    "1.3.6.1.4.1.311.2.1.4",
    "1.3.6.1.4.1.311.2.1.15",
    "1.3.6.1.4.1.311.2.1.25",
)
SHA256 = "2.16.840.1.101.3.4.2.1"
NAME_FLAGS = 0x10010001
"""Authenticated, the name and the value in plain text (W32:seccrypto/makecat.md)."""

WINDOWS_10 = "2:10.0"
SYSTEMS = "_v100_X64,Server_v100_X64"
IMAGE, FLAT = 0, 2
"""A member's kind: an image, or a file that is hashed as it is."""

ALL_OF_THE_IMAGE = b"\x05\xa0"
"""A bit string: resources and data are hashed too."""

CHECKSUM_AT, CHECKSUM_SIZE = 64, 4
SECURITY_AT, DIRECTORY_SIZE = 144, 8
"""The places of the checksum and of the signature's directory entry in the optional header of PE32+."""

SECURITY = 4


def sign_package(driver: Path, certificate: Certificate, deadline: Deadline) -> list[Path]:
    """Sign a driver in place and make its package's catalog if its INF file is next to it. Return the signed files.

    Raises the errors of :func:`harness.driver.signature.sign` and :func:`make_catalog`.
    """
    sign(driver, certificate, deadline)
    inf = driver.with_suffix(".inf")
    if not inf.is_file():
        return [driver]
    made = make_catalog(inf, certificate, deadline)
    written = manifest.load(driver)
    if written is not None:
        sums = {**written.sha256, made.name: manifest.digest(made)}
        manifest.save(driver, msgspec.structs.replace(written, sha256=sums))
    return [driver, made]


def make_catalog(inf: Path, certificate: Certificate, deadline: Deadline) -> Path:
    """Make the signed catalog of a package, next to its INF file, and return its path.

    The files that the INF names are next to it. Raises UsageError if one is missing or the INF file is invalid, MissingPart
    without osslsigncode or pefile, InfrastructureError if the catalog cannot be signed or written.
    """
    package = read_inf(inf)
    path = inf.with_name(package.catalog)
    with (
        system_errors(f"cannot write {path}"),
        tempfile.TemporaryDirectory(dir=inf.parent, prefix=".catalog-") as folder,
    ):
        unsigned = Path(folder) / "unsigned.cat"
        unsigned.write_bytes(catalog(package))
        hint = "Catalogs need osslsigncode 2.4 or later: apt-get install osslsigncode"
        shutil.move(signed_copy(unsigned, path, folder, certificate, deadline, hint=hint), path)
    return path


def catalog(package: PackageInf) -> bytes:
    """Return the catalog of a package, unsigned."""
    members = sorted(_members(package), key=lambda member: member[0])
    entries = [der.sequence(der.octets(digest), der.set_of(*attributes)) for digest, attributes in members]
    name = hashlib.sha256(b"".join(digest for digest, _ in members)).digest()[:16]
    extensions = [("OS", SYSTEMS)]
    extensions += [(f"HWID{number}", each) for number, each in enumerate(package.hardware, 1)]
    trust_list = der.sequence(
        der.sequence(der.identifier(CATALOG_LIST)),
        der.octets(name),
        der.utc_time(package.date),
        der.sequence(der.identifier(MEMBER_VERSION_2), der.null()),
        der.sequence(*entries),
        der.explicit(
            0,
            der.sequence(
                *(der.sequence(der.identifier(NAME_VALUE), der.octets(_named(*each))) for each in extensions)
            ),
        ),
    )
    signed = der.sequence(
        der.integer(1),
        der.set_of(),
        der.sequence(der.identifier(TRUST_LIST), der.explicit(0, trust_list)),
        der.set_of(),
    )
    return der.sequence(der.identifier(SIGNED_DATA), der.explicit(0, signed))


def image_digest(path: Path, algorithm: str) -> bytes:
    """Return Authenticode's hash of an image, which leaves out the checksum, the signature and the signature's place."""
    image = PeImage(path)
    header = image.pe.OPTIONAL_HEADER.get_file_offset()
    place, size = image.directory(SECURITY)
    end = place if place and size else len(image.data)
    parts = (
        image.data[: header + CHECKSUM_AT],
        image.data[header + CHECKSUM_AT + CHECKSUM_SIZE : header + SECURITY_AT],
        image.data[header + SECURITY_AT + DIRECTORY_SIZE : end],
        image.data[end + size :] if end == place else b"",
    )
    digest = hashlib.new(algorithm)
    for part in parts:
        digest.update(part)
    # A signature begins at a multiple of 8, and the padding before it is hashed.
    digest.update(bytes(-len(image.data) % 8) if end == len(image.data) else b"")
    return digest.digest()


def _members(package: PackageInf) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield each member of a catalog: its hash and its attributes."""
    for name in dict.fromkeys([package.path.name, *package.files]):
        path = package.path.with_name(name)
        if not path.is_file():
            raise UsageError(
                f"{package.path} names {name}, which is not next to it",
                hint="Put all files of the package into one folder.",
            )
        kind = IMAGE if path.suffix.lower() in (".sys", ".dll", ".exe") else FLAT
        common = [
            _attribute(MEMBER_INFO_2, der.implicit(kind)),
            _attribute(NAME_VALUE, _named("File", name.lower())),
            _attribute(NAME_VALUE, _named("OSAttr", WINDOWS_10)),
        ]
        yield _digest(path, kind, "sha1"), common
        digest = _digest(path, kind, "sha256")
        yield digest, [*common, _attribute(INDIRECT_DATA, _indirect(digest, kind))]


def _digest(path: Path, kind: int, algorithm: str) -> bytes:
    if kind == IMAGE:
        return image_digest(path, algorithm)
    return hashlib.new(algorithm, path.read_bytes()).digest()


def _attribute(kind: str, value: bytes) -> bytes:
    return der.sequence(der.identifier(kind), der.set_of(value))


def _named(name: str, value: str) -> bytes:
    units = f"{value}\0".encode("utf-16-le")
    return der.sequence(der.bmp_string(name), der.integer(NAME_FLAGS), der.octets(units))


def _indirect(digest: bytes, kind: int) -> bytes:
    """Return what a signature of the file itself would contain: the file's kind and its hash."""
    link = der.explicit(2, der.implicit(0))
    if kind == IMAGE:
        image = der.sequence(der.element(der.BIT_STRING, ALL_OF_THE_IMAGE), der.explicit(0, link))
        data = der.sequence(der.identifier(IMAGE_DATA), image)
    else:
        data = der.sequence(der.identifier(FILE_LINK), link)
    algorithm = der.sequence(der.identifier(SHA256), der.null())
    return der.sequence(data, der.sequence(algorithm, der.octets(digest)))
