# SPDX-License-Identifier: MIT
"""Certificates of the lab's own: an authority, made once, and a certificate with its key for each host.

The authority's key is needed only to make certificates. Keep it off the hosts of the fleet. Each certificate is valid
for both sides of a connection, because the engine's processes connect to each other (RFC 5280, section 4.2.1.12).
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.errors import UsageError, system_errors
from harness.history.private import write_private

CA, CA_KEY = "ca.pem", "ca-key.pem"
CA_DAYS, HOST_DAYS = 3650, 825
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")


class HostCertificate(NamedTuple):
    """The files of one host: its certificate, its key, and the authority's certificate."""

    cert: Path
    key: Path
    ca: Path


def make_certificates(hosts: list[str], out: Path) -> list[HostCertificate]:
    """Make a certificate in ``out`` for each host, given by name or address. Make the authority if there is none.

    Raises UsageError for an invalid host name, and for a certificate that already exists. Raises InfrastructureError.
    """
    names = [f"{host}{end}" for host in dict.fromkeys(hosts) for end in (".pem", "-key.pem")]
    for host in hosts:
        if not HOST.fullmatch(host):
            raise UsageError(f"{host[:200]!r} is not a valid host name or address")
        for name in (f"{host}.pem", f"{host}-key.pem"):
            if name in (CA, CA_KEY) or names.count(name) > 1:
                raise UsageError(
                    f"a host cannot be called {host}: {name} is another file",
                    hint="Use the host's full name or its address.",
                )
        for name in (f"{host}.pem", f"{host}-key.pem"):
            if (out / name).exists():
                raise UsageError(
                    f"{out / name} already exists",
                    hint=f"Remove {host}.pem and {host}-key.pem to make others for that host.",
                )
    with system_errors(f"cannot write certificates in {out}"):
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority, key = _authority(out)
        return [_host(host, out, authority, key) for host in dict.fromkeys(hosts)]


def _authority(out: Path) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    file, key_file = out / CA, out / CA_KEY
    if file.exists() or key_file.exists():
        try:
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            authority = x509.load_pem_x509_certificate(file.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(
                f"the authority in {out} is incomplete or damaged: {getattr(error, 'strerror', None) or error}",
                hint=f"Both {CA} and {CA_KEY} must exist, or neither. For another authority, give another --out.",
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != authority.public_key():
            raise UsageError(
                f"{key_file} is not the key of {file}", hint="Another authority needs another --out."
            )
        return authority, key
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("hotplug harness lab")
    builder = _builder(name, name, key, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(ca=True), critical=True)
    authority = _signed(builder, key)
    _write_key(key_file, key)
    write_private(file, authority.public_bytes(serialization.Encoding.PEM))
    return authority, key


def _host(
    host: str, out: Path, authority: x509.Certificate, authority_key: EllipticCurvePrivateKey
) -> HostCertificate:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(host), authority.subject, key, HOST_DAYS)
    builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(ca=False), critical=True)
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    made = HostCertificate(out / f"{host}.pem", out / f"{host}-key.pem", out / CA)
    _write_key(made.key, key)
    write_private(made.cert, _signed(builder, authority_key).public_bytes(serialization.Encoding.PEM))
    return made


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(text: str) -> x509.Name:
    # A common name has 64 characters at most (RFC 5280, appendix A.1).
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    # One hour in the past, because the clocks of a lab may differ.
    return builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(
        now + datetime.timedelta(days=days)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _signed(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(key, hashes.SHA256())


def _write_key(file: Path, key: EllipticCurvePrivateKey) -> None:
    write_private(
        file,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
