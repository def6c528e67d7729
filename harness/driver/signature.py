# SPDX-License-Identifier: MIT
"""Authenticode signatures: made and verified by osslsigncode, with page hashes, which Windows checks for each page."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.driver import manifest
from harness.driver.certificate import Certificate, fingerprint
from harness.driver.image import ImageCheck, PeImage
from harness.errors import InfrastructureError, UsageError
from harness.program import run_program

VERIFIED = "Signature verification: ok"
PAGE_HASHES = "Page hash algorithm"
UNSIGNED = "No signature found"


def sign(path: Path, certificate: Certificate, deadline: Deadline) -> None:
    """Sign a file in place, replacing an existing signature, and update its manifest.

    Raises UsageError if it is not an image, MissingPart without osslsigncode, InfrastructureError if signing fails. The
    file is then unchanged.
    """
    PeImage(path)
    for file in (certificate.pem, certificate.key):
        if not file.is_file():
            raise UsageError(f"there is no file {file}", hint="Give --certificate and --key, or neither.")
    signer = fingerprint(certificate.pem)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".sign-") as folder:
        signed = signed_copy(
            path, path, folder, certificate, deadline,
            options=("-ph", "-n", "hpnotify"), hint="Check that certificate and key belong together.",
        )  # fmt: skip
        shutil.copymode(path, signed)
        signed.replace(path)
    written = manifest.load(path)
    if written is not None:
        sums = {**written.sha256, path.name: manifest.digest(path)}
        manifest.save(path, msgspec.structs.replace(written, sha256=sums, signer=signer))


def signed_copy(
    unsigned: Path,
    path: Path,
    folder: str,
    certificate: Certificate,
    deadline: Deadline,
    *,
    hint: str,
    options: tuple[str, ...] = (),
) -> Path:
    """Sign a file and return the result, in ``folder`` under the name of ``path``, which it is meant for.

    Raises MissingPart without osslsigncode, InfrastructureError with ``hint`` if signing fails.
    """
    signed = Path(folder) / path.name
    keys = ["-certs", str(certificate.pem), "-key", str(certificate.key)]
    command = [
        "osslsigncode",
        "sign",
        "-h",
        "sha256",
        *options,
        *keys,
        "-in",
        str(unsigned),
        "-out",
        str(signed),
    ]
    done = run_program(command, deadline)
    if done.status or not signed.is_file():
        raise InfrastructureError(f"osslsigncode could not sign {path}: {done.failure()}", hint=hint)
    return signed


def check_signature(path: Path, pem: Path | None, deadline: Deadline) -> ImageCheck:
    """Verify a file's signature and page hashes, against a certificate if one is given.

    Without one only the integrity of a self-signed signature can be verified, not its signer. Raises MissingPart.
    """
    name = "signature"
    with tempfile.TemporaryDirectory(prefix="hpnotify-") as folder:
        if pem is None:
            extracted = Path(folder) / "signer.pem"
            taken = run_program(
                ["osslsigncode", "extract-signature", "-pem", "-in", str(path), "-out", str(extracted)],
                deadline,
            )
            if taken.status or not extracted.is_file():
                return ImageCheck(name, False, "there is none")
            pem = _signer(extracted)
            if pem is None:
                return ImageCheck(name, False, "it has no certificate")
        signer = fingerprint(pem)
        done = run_program(["osslsigncode", "verify", "-CAfile", str(pem), "-in", str(path)], deadline)
    if UNSIGNED in done.output:
        return ImageCheck(name, False, "there is none")
    if done.status or VERIFIED not in done.output:
        return ImageCheck(name, False, f"does not verify: {_reason(done.output)}")
    if PAGE_HASHES not in done.output:
        return ImageCheck(name, False, "verifies, but has no page hashes")
    return ImageCheck(name, True, f"verifies, with page hashes; signer {signer[:16]}…")


def _signer(signature: Path) -> Path | None:
    """Write the first certificate of a signature in PEM next to it."""
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

    certificates = pkcs7.load_pem_pkcs7_certificates(signature.read_bytes())
    if not certificates:
        return None
    path = signature.with_name("certificate.pem")
    path.write_bytes(certificates[0].public_bytes(Encoding.PEM))
    return path


def _reason(output: str) -> str:
    """Return the most informative line of osslsigncode's output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [
        line
        for line in lines
        if "error" in line.lower() or "mismatch" in line.lower() or "failed" in line.lower()
    ]
    return "; ".join((told or lines)[:3])
