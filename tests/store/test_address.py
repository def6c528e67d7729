# SPDX-License-Identifier: MIT
"""Addresses of stores: what is taken, what is refused, and that a password is never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.store.address import VARIABLE, read_address, store_address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("postgresql:///lab", "postgresql+psycopg:///lab"),
        ("postgres://db.example.org/lab", "postgresql+psycopg://db.example.org/lab"),
        ("postgresql+psycopg://u@db:5433/lab", "postgresql+psycopg://u@db:5433/lab"),
        ("postgresql://u@[::1]:5433/lab", "postgresql+psycopg://u@[::1]:5433/lab"),
        ("postgresql:///?service=lab", "postgresql+psycopg:///?service=lab"),
        ("postgresql://u@/lab?host=/run/postgresql", "postgresql+psycopg://u@/lab?host=/run/postgresql"),
    ],
)
def test_an_address_of_a_server_is_taken(text: str, url: str) -> None:
    """The driver is psycopg 3; all else stays as libpq is to have it."""
    found = read_address(text, what="x")
    assert (url, None) == (found.url, found.file)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:Geheim1@db/lab",
        "postgresql://u:@db/lab",
        "postgresql:///lab?password=Geheim1",
        "postgresql:///lab?user=u&password=Geheim1",
        "postgresql:///lab?sslpassword=Geheim1",
        "postgresql://u:Geheim1@db:port/lab",
        "mysql://u:Geheim1@db/lab",
    ],
)
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    """The message names ~/.pgpass instead; logs and terminals never get the password."""
    with pytest.raises(UsageError) as caught:
        read_address(text, what="[store] url")
    assert "Geheim1" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "results.sqlite",
        "sqlite://",
        "sqlite:///",
        "sqlite:///a?mode=ro",
        "mysql://db/lab",
        "http://x",
        "postgresql:lab",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """The message says where it stood."""
    with pytest.raises(UsageError, match=r"^\[store\] url: "):
        read_address(text, what="[store] url")


def test_the_order_of_the_three_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable beats lab.toml, whose relative path begins where it lies, and that beats the file beside nightly runs."""
    said = "sqlite:///kept/x.sqlite"
    places = [
        store_address(tmp_path / "n").file,
        store_address(tmp_path / "n", said, base=tmp_path / "lab").file,
    ]
    monkeypatch.setenv(VARIABLE, "sqlite:////elsewhere/y.sqlite")
    places.append(store_address(tmp_path / "n", said).file)
    assert [
        tmp_path / "n" / "results.sqlite", tmp_path / "lab" / "kept" / "x.sqlite", Path("/elsewhere/y.sqlite"),
    ] == places  # fmt: skip
