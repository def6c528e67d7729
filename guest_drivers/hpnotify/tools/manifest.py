# SPDX-License-Identifier: MIT
"""Writes the driver's ETW manifest from its table of records: ``python3 manifest.py > ../src/hpnotify.man``.

The manifest is in the repository, because the WDK's message compiler reads it. A test compares it with this script's
output.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
DEFINITION = re.compile(r"#define (HPN_RECORD_[A-Z_]+)\(FIELD, Type\) \\\n((?:    FIELD\(.*\)(?: \\)?\n)+)")
FIELD = re.compile(r"FIELD\(Type, (\w+), (\w+), (\w+)\)")
RECORD = re.compile(r"RECORD\((\w+), \"([a-z.]+)\", (HPN_RECORD_[A-Z_]+)\)")
PROVIDER = re.compile(r"/\* (\{[0-9A-F-]+\}) \*/\nstatic const GUID HpnProvider")

TYPES = {
    "Decimal": ("win:UInt64", "xs:unsignedLong"),
    "Signed": ("win:Int64", "xs:long"),
    "Hexadecimal": ("win:UInt64", "win:HexInt64"),
    "Nonce": ("win:UInt64", "win:HexInt64"),
    "Text": ("win:AnsiString", "xs:string"),
    "WideText": ("win:UnicodeString", "xs:string"),
}


def manifest(header: str, trace: str) -> str:
    """Return the manifest for the texts of ``records.h`` and ``trace.c``."""
    lists = {name: FIELD.findall(body) for name, body in DEFINITION.findall(header)}
    common = lists["HPN_RECORD_HEAD"] + lists["HPN_RECORD_SAMPLE"]
    found = PROVIDER.search(trace)
    if found is None:
        raise SystemExit("trace.c has no comment with the provider's GUID above HpnProvider")
    events = []
    templates = []
    strings = []
    for number, (kind, tag, fields) in enumerate(RECORD.findall(header), start=1):
        events.append(
            f'          <event value="{number}" symbol="Hpn{kind}Event" level="win:Informational" '
            f'template="{kind}" message="$(string.{kind})"/>'
        )
        templates.append(f'          <template tid="{kind}">')
        for _, wire, form in common + lists[fields]:
            kept, shown = TYPES[form]
            templates.append(f'            <data name="{wire}" inType="{kept}" outType="{shown}"/>')
        templates.append("          </template>")
        strings.append(f'        <string id="{kind}" value="{tag}"/>')
    return "\n".join(
        [
            '<?xml version="1.0" encoding="utf-8"?>',
            "<!-- SPDX-License-Identifier: MIT. Written by tools/manifest.py from records.h. -->",
            (
                '<instrumentationManifest xmlns="http://schemas.microsoft.com/win/2004/08/events" '
                'xmlns:win="http://manifests.microsoft.com/win/2004/08/windows/events" '
                'xmlns:xs="http://www.w3.org/2001/XMLSchema">'
            ),
            "  <instrumentation>",
            "    <events>",
            (
                f'      <provider name="HotplugHarness-hpnotify" guid="{found[1]}" symbol="HpnProviderGuid" '
                'resourceFileName="%SystemRoot%\\System32\\drivers\\hpnotify.sys" '
                'messageFileName="%SystemRoot%\\System32\\drivers\\hpnotify.sys">'
            ),
            "        <events>",
            *events,
            "        </events>",
            "        <templates>",
            *templates,
            "        </templates>",
            "      </provider>",
            "    </events>",
            "  </instrumentation>",
            "  <localization>",
            '    <resources culture="en-US">',
            "      <stringTable>",
            *strings,
            "      </stringTable>",
            "    </resources>",
            "  </localization>",
            "</instrumentationManifest>",
            "",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(manifest((SOURCE / "records.h").read_text(), (SOURCE / "trace.c").read_text()))
