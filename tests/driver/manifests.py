# SPDX-License-Identifier: MIT
"""Instrumentation manifests for tests, made of parts."""

from __future__ import annotations

HEAD = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<instrumentationManifest xmlns="http://schemas.microsoft.com/win/2004/08/events" '
    'xmlns:win="http://manifests.microsoft.com/win/2004/08/windows/events" '
    'xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:own="urn:own">\n'
)
PROVIDER = (
    'name="Made" guid="{5D1F0E5A-7C11-4B6E-9E0A-3C2B1A09F8E7}" symbol="Made" '
    'resourceFileName="made.sys" messageFileName="made.sys"'
)


def manifest(body: str, strings: str = "", *, provider: str = PROVIDER, languages: str = "") -> bytes:
    """Return a manifest of one provider. Its element is on line 4, ``body`` begins on line 5."""
    return (
        f"{HEAD}<instrumentation><events>\n<provider {provider}>\n{body}\n</provider>\n</events></instrumentation>\n"
        f'<localization><resources culture="en-US"><stringTable>\n{strings}\n</stringTable></resources>{languages}'
        "</localization>\n</instrumentationManifest>\n"
    ).encode()
