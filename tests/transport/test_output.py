# SPDX-License-Identifier: MIT
"""Guests' output, whatever bytes it is made of, becomes bounded text with honest remarks."""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.transport.clixml import to_text
from harness.transport.output import Output

HEAD = '#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'


def text_of(data: bytes, *, limit: int = 1000, name: str = "stdout") -> tuple[str, list[str]]:
    """Decode ``data`` in one go."""
    output = Output(name, limit)
    output.add(data)
    return output.text()


@given(st.lists(st.binary(max_size=40)), st.integers(0, 100), st.sampled_from(["stdout", "stderr"]))
def test_any_bytes_become_text_of_bounded_size(pieces: list[bytes], limit: int, name: str) -> None:
    """The size is counted whole, the text is not longer than the limit, and it can be encoded."""
    output = Output(name, limit)
    for piece in pieces:
        output.add(piece)
    text, remarks = output.text()
    whole = b"".join(pieces)
    assert len(whole) == output.size
    assert whole[:limit] == output.content
    assert (len(whole) > limit) == output.cut == any("cut after" in remark for remark in remarks)
    assert len(text) <= limit
    text.encode("utf-8")


@given(st.text())
def test_utf_8_is_taken_as_it_is(text: str) -> None:
    """Without a remark."""
    assert (text, []) == text_of(("\ufeff" + text).encode(), limit=10_000)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_cut_inside_a_character_is_no_bad_byte(cut: int) -> None:
    """The half character is dropped."""
    assert ("ab", [f"stdout: 6 bytes, cut after {2 + cut}"]) == text_of("ab😀".encode(), limit=2 + cut)


def test_errors_warnings_and_the_rest_of_clixml() -> None:
    """Errors are plain, others carry the word that PowerShell's console gives them, progress is left out."""
    blob = (
        HEAD + '<Obj S="progress" RefId="0"><MS><PR N="Record"><AV>Preparing</AV></PR></MS></Obj>'
        '<S S="Error">one_x000D__x000A_</S><S S="warning">two_x000D__x000A_</S><S S="Error">_x005F_x_x0041_'
        "&lt;&amp;_xD83D__xDE00_ é</S></Objs>"
    )
    assert ("before\none\nWARNING: two\n_xA<&😀 éafter", []) == to_text(f"before\n{blob}\r\nafter")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=50))
def test_what_powershell_would_write_is_read_back(text: str) -> None:
    """Every character that XML can hold, and an underscore in front of what looks like an escape."""
    written = escape(text).replace("_x", "_x005F_x")
    assert (text, []) == to_text(f'{HEAD}<S S="Error">{written}</S></Objs>')


@given(st.text(), st.integers(0, 400))
def test_any_text_after_a_marker_is_survived(text: str, cut: int) -> None:
    """Damaged, cut or nested, it gives text and at most one remark of a kind."""
    blob = f'{HEAD}<S S="Error">one</S><S S="Error">two</S></Objs>'
    for damaged in (f"#< CLIXML{text}", blob[:cut], blob[:cut] + text + blob[cut:], f"{blob}{text}{blob}"):
        shown, remarks = to_text(damaged)
        shown.encode("utf-8", "surrogatepass")
        assert len(set(remarks)) == len(remarks)


def test_a_cut_blob_gives_its_whole_lines() -> None:
    """And says that it was cut."""
    shown, remarks = to_text(f'{HEAD}<S S="Error">one_x000A_</S><S S="Error">tw')
    assert ("one\n", ["stderr: CLIXML that is cut or damaged; only its whole lines are shown"]) == (
        shown,
        remarks,
    )


def test_entities_are_not_expanded() -> None:
    """A declaration is no PowerShell's; the blob stays as it is."""
    bomb = '#< CLIXML\n<!DOCTYPE Objs [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]><Objs><S>&b;</S></Objs>'
    shown, remarks = to_text(bomb)
    assert "&b;" in shown
    assert ["stderr: CLIXML with a declaration in it, left as it is"] == remarks
