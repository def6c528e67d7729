# SPDX-License-Identifier: MIT
"""The picture of the demo in README.md: what an 80x24 terminal shows when a real ``./lab demo`` has ended.

``python -m tests.docs.picture`` runs the demo of this clone in a pseudo terminal and writes ``docs/pictures/demo.svg``, or the
file that is named. Nothing in the picture is written by hand.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from harness.deadline import Deadline

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "pictures" / "demo.svg"

COLUMNS, LINES = 80, 24
PROMPT = "\x1b[1m$ ./lab demo\x1b[0m"
SECONDS = 300.0

FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="What ./lab demo prints">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px; line-height: {line_height}px; white-space: pre; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""As rich's own format, but with the fonts that are there: a picture that fetches one is not shown by every reader."""

_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n])")


def output(command: list[str], place: Path, environment: Mapping[str, str]) -> str:
    """Run a command in a terminal of 80x24 and return what it writes.

    Raises CalledProcessError if it fails, TimeoutExpired if it does not end.
    """
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, cwd=place, env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    deadline = Deadline(SECONDS, "the demo")
    written = bytearray()
    # Linux fails the read when the last process has closed the other end.
    with suppress(OSError):
        while select.select([leader], [], [], deadline.remaining())[0]:
            written += os.read(leader, 1 << 16)
    os.close(leader)
    try:
        code = process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    if code:
        raise subprocess.CalledProcessError(code, command, written.decode())
    return written.decode()


def screen(text: str) -> list[str]:
    """Return the lines that a terminal shows of ``text``, with their colours.

    Known are the movements that the harness makes: to the begin of the line, up, and erasing what follows.
    """
    lines, row = [""], 0
    place = 0
    for control in [*_CONTROL.finditer(text), None]:
        lines[row] += text[place : control.start() if control else None]
        if control is None:
            break
        place = control.end()
        if control[3] == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif control[2] == "m":
            lines[row] += control[0]
        elif control[2] == "A":
            row = max(0, row - int(control[1] or 1))
        elif control[2] == "J":
            del lines[row + 1 :]
            lines[row] = ""
        elif control[2] == "K":
            lines[row] = ""
    while lines and not lines[-1]:
        lines.pop()
    return lines


def last_screen(lines: list[str]) -> list[Text]:
    """Return what of these lines the terminal still shows when the shell's prompt is back, the command above if it is."""
    wrapped = [
        piece
        for line in map(Text.from_ansi, [PROMPT, *lines])
        for piece in line.divide(range(COLUMNS, max(len(line), 1), COLUMNS))
    ]
    return wrapped[-(LINES - 1) :]


def drawn(lines: list[Text]) -> str:
    """Return the picture of a screen, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title="./lab demo", theme=MONOKAI, code_format=FORMAT, unique_id="demo")
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines() if line.strip())


def shown_text(svg: str) -> list[str]:
    """Return the lines of text that a picture shows, as a reader sees them."""
    shown = []
    for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if "-title" not in element.get("class", ""):
            shown.append((float(element.get("y", "")), float(element.get("x", "")), element.text or ""))
    rows = groupby(sorted(shown), key=lambda one: one[0])
    return ["".join(text for _, _, text in row).replace("\xa0", " ").rstrip() for _, row in rows]


def demo() -> str:
    """Run the demo of this clone and return its picture."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI", "COLUMNS")}
    environment = kept | {
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "HOTPLUG_HARNESS_STARTED_AS": "./lab harness",
    }
    command = [sys.executable, "-m", "harness", "demo"]
    with tempfile.TemporaryDirectory(prefix="hotplug-picture-") as place:
        # Nobody else's machines: a wait for them is no part of the picture.
        environment["HOTPLUG_HARNESS_LEASES"] = f"{place}/leases"
        return drawn(last_screen(screen(output(command, Path(place), environment))))


def main() -> None:
    """Write the picture."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    svg = demo()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(svg, encoding="utf-8")
    print(f"{file}: {len(svg.encode())} bytes, {len(shown_text(svg))} lines")


if __name__ == "__main__":
    main()
