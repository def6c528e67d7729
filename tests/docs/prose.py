# SPDX-License-Identifier: MIT
"""The linter of the project's prose: what docs/writing.md asks for, as far as patterns can tell.

``python -m tests.docs.prose [FILE …]`` prints each place with the rule that it breaks; without files it reads all that the
project tracks. Prose is: docstrings, comments and messages of Python; comments and messages of C; comments of TOML, shell and
PowerShell; the text of a page outside its code.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.syntax import comments, nodes, parse

ROOT = Path(__file__).resolve().parents[2]

_CODE = re.compile(r"\$\w|[{}]")
"""What a sentence has that is code: a script in a string."""

LONGEST_SENTENCE = 40
"""Words. The rule asks for 20 where it can be; beyond twice as many a reader has lost the beginning."""


class Pattern(NamedTuple):
    """What breaks a rule of docs/writing.md. ``instead`` says what to write."""

    rule: int
    expression: re.Pattern[str]
    instead: str


def _pattern(rule: int, expression: str, instead: str) -> Pattern:
    return Pattern(rule, re.compile(expression), instead)


_BARE_VERBS = (
    "answer|ask|be|begin|boot|call|close|come|count|do|end|find|forget|give|go|go on|hold|keep|know|leave|listen|look|make|"
    "note|open|print|read|run|say|send|show|start|stop|take|tell|try|wait|write"
)

_NOT_THERE = r"(?<!there )(?<!There )(?<!here )(?<!such )(?<!nor )"
"""What makes "there is no X" of "X is no Y": the first is good English."""

PATTERNS = (
    _pattern(
        1,
        rf"\b[Hh](?:ave|as|ad) (?:the|a|an|its|this|each|every) (?:\w+ )?\w+ (?:{_BARE_VERBS})\b(?! up\b)",
        "make X do Y, or X does Y",
    ),
    _pattern(
        1,
        rf"\b[Hh](?:ave|as|ad) (?:it|them|QEMU|Windows|libvirt|Linux|somebody) (?:{_BARE_VERBS})\b",
        "make X do Y, or X does Y",
    ),
    _pattern(1, r"^(?:Return|Reading|Writing|Making) of\b", "an imperative verb and its object"),
    _pattern(
        2,
        rf"{_NOT_THERE}\b(?:is|are|was|were) no (?!longer|more|less|better|worse|later|earlier|other|such|one\b|way\b|doubt|room|need|reason|matter|place)[A-Za-z]\w*",
        "invalid, not a, or must be one of",
    ),
    _pattern(
        2, rf"{_NOT_THERE}\b(?:is|are|was|were|be) none\b(?! left)", "invalid, not a, or must be one of"
    ),
    _pattern(3, r"\b[Pp]olite(?:ly)?\b", "shutdown, SIGTERM"),
    _pattern(3, r"\brooms? that knows?\b", "the module's name"),
    _pattern(3, r"\bconversations? with a debugger\b", "a kernel debugger connection"),
    _pattern(3, r"\b[Aa] (?:night|sitting)\b", "a nightly run, a session"),
    _pattern(3, r"\b(?:the|a) way out\b", "the hint, what to do"),
    _pattern(4, r"\b[Ww]ho(?:so)?ever\b", "the user, the caller, or who it is"),
    _pattern(4, r"\b[Ww]hat (?:came|comes|became|becomes|has become|is to become) of\b", "the result of"),
    _pattern(
        4,
        r"\b(?:none|one|that|those|each|files?|drivers?|machines?|process(?:es)?|runs?|own|tests?|programs?) of ours\b",
        "our, or the harness's",
    ),
    _pattern(4, r"\b[Tt](?:ells?|old|elling) of\b", "reports, says, describes"),
    _pattern(4, r"\bof no (?:interest|concern)\b", "ignored, not used"),
    _pattern(
        4, r"\b[Nn]obody (?:knows|asks|looks|says|reads|is told|was told)\b", "a passive verb, or who it is"
    ),
)
"""The short list. Each pattern has its example in tests/docs/test_prose.py."""

_ANY = re.compile("|".join(pattern.expression.pattern for pattern in PATTERNS), re.MULTILINE)
"""What all patterns find, and what one finds that stands at the beginning of a text, at the beginning of any line."""

_WORD = re.compile(r"(?<![\w=])[A-Za-z][\w'-]*")


class Passage(NamedTuple):
    """A piece of prose: its first line in the file, and its text, whose line ends are kept."""

    line: int
    text: str


class Finding(NamedTuple):
    """A place that breaks a rule."""

    line: int
    rule: int
    words: str
    instead: str


def findings(passage: Passage) -> Iterator[Finding]:
    """Yield what is wrong with a passage."""
    joined = _joined(passage.text)
    flat = joined.replace("\x00", " ")

    def line(position: int) -> int:
        return passage.line + joined.count("\x00", 0, position) + joined.count("\n", 0, position)

    for pattern in PATTERNS:
        for hit in pattern.expression.finditer(flat):
            yield Finding(line(hit.start()), pattern.rule, hit[0], pattern.instead)
    position = 0
    for sentence in _sentences(flat):
        start = flat.find(sentence, position)
        position = start + len(sentence)
        words = _WORD.findall(sentence)
        if len(words) > LONGEST_SENTENCE and not _CODE.search(sentence):
            yield Finding(
                line(start),
                5,
                " ".join(sentence.split()[:8]) + " …",
                f"{len(words)} words: one fact a sentence",
            )


def _joined(text: str) -> str:
    """Return the text with X for what is quoted as code, and NUL where a sentence goes on in the next line."""
    if "`" in text:
        text = re.sub(r"``[^`]*``|`[^`\n]*`", "X", text)
    if "\n" in text:
        # A line that is indented by four columns or more belongs to a listing, not to the sentence before it.
        text = re.sub(r"(?<=\S)[ \t]*\n {0,3}(?=\S)", "\x00", text)
    return text


def _sentences(flat: str) -> list[str]:
    """Return the sentences of a text that may be too long: a word has a letter and something before or after it."""
    if len(flat) < 2 * LONGEST_SENTENCE:
        return []
    sentences = re.split(r"(?<=[.;:?!])\s+|\n+", flat)
    return [sentence for sentence in sentences if len(sentence) >= 2 * LONGEST_SENTENCE]


def suspicious(passages: Iterable[Passage]) -> bool:
    """Return whether anything can be wrong with passages: one search for all of them, which takes a third of the time."""
    texts = [_joined(passage.text).replace("\x00", " ") for passage in passages]
    # Nothing that a pattern looks for goes over an empty line.
    return bool(_ANY.search("\n\n".join(texts))) or any(
        len(_WORD.findall(sentence)) > LONGEST_SENTENCE for flat in texts for sentence in _sentences(flat)
    )


def passages(path: Path, text: str) -> Iterator[Passage]:
    """Yield the prose of a file, by its kind; nothing of a file of another kind."""
    if path.suffix == ".py":
        yield from _python(text)
    elif path.suffix == ".md":
        yield from _page(text)
    elif path.suffix in (".c", ".h", ".ts"):
        for hit in re.finditer(r"/\*(.*?)\*/|//([^\n]*)", text, re.DOTALL):
            words = re.sub(r"(?m)^[ \t]*\*[ \t]?", "", hit[1] if hit[1] is not None else hit[2])
            yield Passage(text.count("\n", 0, hit.start()) + 1, words)
    elif path.suffix in (".toml", ".sh", ".ps1", ".psm1", ".yml") or path.name in ("lab", "run"):
        yield from _comments(text.splitlines(), "#")


def _comments(lines: list[str], mark: str) -> Iterator[Passage]:
    block: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        words = line.strip()
        if words.startswith(mark) and not words.startswith("#!"):
            block.append(words.lstrip(mark).strip())
        elif block:
            yield Passage(number - len(block), "\n".join(block))
            block = []


def _python(text: str) -> Iterator[Passage]:
    tree = list(nodes(parse(text)))
    inside = {id(part) for node in tree if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in tree:
        if isinstance(node, ast.JoinedStr):
            words = "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
            if " " in words:
                yield Passage(node.lineno, words)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside
            and node.value.count(" ") > 1
        ):
            yield Passage(node.lineno, _flush_left(node.value))
    rows = ["" for _ in text.splitlines()]
    for number, comment in comments(text):
        rows[number - 1] = comment if not re.match(r"#\s*(?:type:|noqa|fmt:|pragma|SPDX)", comment) else ""
    yield from _comments(rows, "#")


def _flush_left(text: str) -> str:
    """Return a docstring without the indentation that all its lines but the first have."""
    first, *rest = text.split("\n")
    columns = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return "\n".join([first, *(line[columns:] for line in rest)])


def _page(text: str) -> Iterator[Passage]:
    fence = False
    block: list[str] = []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.lstrip().startswith("```"):
            fence = not fence
        row = line.strip().startswith("|")
        if row and not fence:
            # A list whose items have a slash between them is not a sentence, and a term in quotes is mentioned, not used.
            for cell in re.split(r"\| | / ", line.strip().strip("|")):
                yield Passage(number, re.sub(r'"[^"]{1,40}"', "X", cell.strip()))
        if (
            line.strip()
            and not fence
            and not row
            and not line.startswith("    ")
            and not line.lstrip().startswith("```")
        ):
            block.append(re.sub(r"\]\([^)]*\)", "]", line))
        elif block:
            yield Passage(number - len(block), "\n".join(block))
            block = []


OUTSIDE = ("tests/", "docs/writing.md")
"""Where the linter does not look: the tests' own texts are held by review, and the page shows what is wrong."""


def tracked() -> list[Path]:
    """Return the files of the project."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.split("\0") if name and not name.startswith(OUTSIDE)]
    return [ROOT / name for name in names if not (ROOT / name).is_symlink()]


def lint(paths: list[Path]) -> Iterator[tuple[Path, Finding]]:
    """Yield every finding in files, in the order of their lines."""
    for path in paths:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        read = list(passages(path, text))
        if suspicious(read):
            found = [finding for passage in read for finding in findings(passage)]
            yield from ((path, finding) for finding in sorted(found))


def main(names: list[str]) -> int:
    """Print the findings; return 1 if there are any."""
    code = 0
    for path, found in lint([Path(name) for name in names] or tracked()):
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        print(f"{shown}:{found.line}: rule {found.rule}: {found.words!r}: {found.instead}")
        code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
