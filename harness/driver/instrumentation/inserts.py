# SPDX-License-Identifier: MIT
"""The inserts of a message, ``%1`` or ``%1!s!``, against the fields of the event (FormatMessage: W32:WES/eventmanifestschema-eventdefinitiontype-complextype.md)."""

from __future__ import annotations

import re

from harness.driver.instrumentation.model import EventDefinition, LocalizedMessage

_ESCAPE = re.compile(r"%([0-9]+)(!?)|%.|%$", re.DOTALL)


def check_inserts(message: LocalizedMessage, event: EventDefinition) -> None:
    """Raise BadDocument if a text of an event, in any language, has an insert without a field or an unfinished format."""
    fields = len(event.template.fields) if event.template else 0
    for culture, text in message.texts.items():
        _check(text, fields, culture, event)


def _check(text: str, fields: int, culture: str, event: EventDefinition) -> None:
    position = 0
    while found := _ESCAPE.search(text, position):
        position = found.end()
        if found[1] is None:
            continue
        number = found[1] if len(found[1]) < 6 else f"{found[1][:6]}…"
        if len(found[1]) > 5 or int(found[1]) > fields:
            raise event.element.error(
                f"its text ({culture}) inserts %{number}, and the event has {fields} fields",
                attribute="message",
                hint="Add the field to the event's template, or write %% for a percent sign.",
            )
        if found[2]:
            end = text.find("!", position)
            if end < 0:
                raise event.element.error(
                    f"its text ({culture}) begins a format after %{number}! that never ends",
                    attribute="message",
                    hint=f"Write %{number}!s!, or %{number}%! for an exclamation mark.",
                )
            position = end + 1
