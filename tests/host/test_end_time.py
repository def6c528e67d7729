# SPDX-License-Identifier: MIT
"""End times as people say them; ISO 8601 for dates, this host's clock for times of day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.host.end_time import read_end_time

NOON = datetime(2026, 11, 29, 12, 0, 30).timestamp()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("90m", 5400), ("2h", 7200), ("1d", 86_400), ("1d2h3m", 93_780), ("2h30min", 9000), (" 2h ", 7200)],
)
def test_a_span_begins_now(said: str, seconds: int) -> None:
    """Days, hours and minutes, in this order."""
    assert NOON + seconds == read_end_time(said, what="--until", now=NOON)


@pytest.mark.parametrize(
    ("said", "when"),
    [
        ("18:00", datetime(2026, 11, 29, 18)),
        ("6:05", datetime(2026, 11, 30, 6, 5)),
        ("12:00", datetime(2026, 11, 30, 12)),
        ("2026-12-01T07:30", datetime(2026, 12, 1, 7, 30)),
        ("2026-12-01 07:30", datetime(2026, 12, 1, 7, 30)),
        ("2026-12-01T07:30Z", datetime(2026, 12, 1, 7, 30, tzinfo=UTC)),
    ],
)
def test_a_time_of_day_is_the_next_one(said: str, when: datetime) -> None:
    """Today's if it is still to come, tomorrow's if not; a date says its own day, and its time zone if it has one."""
    assert when.timestamp() == read_end_time(said, what="--until", now=NOON)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "'' is not an end time"),
        ("25:00", "'25:00' is not an end time"),
        ("tomorrow", "is not an end time"),
        ("2h ago", "is not an end time"),
        ("2026-11-30", "a day needs a time"),
        ("2026-11-29T11:59", "has already passed"),
        ("0m", "has already passed"),
        ("9999999d", "is not an end time"),
    ],
)
def test_what_is_none_is_said_with_examples(said: str, why: str) -> None:
    """The message has what was typed and where it stands."""
    with pytest.raises(UsageError, match=why) as caught:
        read_end_time(said, what="--until", now=NOON)
    assert ("--until: ", True) == (caught.value.message[:9], "18:00" in caught.value.hint)


@pytest.mark.hypothesis
@given(st.text(max_size=200) | st.from_regex(r"[0-9TZ:+dhm. -]{1,30}", fullmatch=True))
def test_whatever_is_typed_is_a_time_to_come_or_told(said: str) -> None:
    """No other error, and no time that is over."""
    try:
        found = read_end_time(said, what="x", now=NOON)
    except UsageError as error:
        found = NOON + error.message.startswith("x: ")
    assert found > NOON


@given(st.datetimes(datetime(2026, 11, 30), datetime(2030, 1, 1)))
def test_iso_dates_are_what_python_writes(when: datetime) -> None:
    """Whatever form ``isoformat`` gives them."""
    assert when.timestamp() == read_end_time(when.isoformat(), what="x", now=NOON)
    aware = when.replace(tzinfo=UTC) + timedelta(days=1)
    assert aware.timestamp() == read_end_time(aware.isoformat(), what="x", now=NOON)
