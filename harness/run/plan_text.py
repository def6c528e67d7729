# SPDX-License-Identifier: MIT
"""A plan as TOML text, for plans that a program created: the text decodes to the same plan."""

from __future__ import annotations

import functools
import json
from typing import Any

import msgspec

from harness.config import to_plain
from harness.run.plan import MachineWishes, Plan


def plan_text(plan: Plan) -> str:
    """Return the text of a plan file; values equal to their defaults are omitted."""
    usual = {"summary": "", "shows": "", "driver": True, "pnp": False}
    lines = _pairs({"name": plan.name, **_set({key: getattr(plan, key) for key in usual}, usual)})
    wishes = _set(to_plain(plan.machine), to_plain(MachineWishes()))
    if wishes:
        lines += ["", "[machine]", *_pairs(wishes)]
    for operation in plan.do:
        defaults = _defaults(type(operation))
        named = to_plain(operation)
        lines += ["", "[[do]]", f"op = {_value(named.pop('op'))}", *_pairs(_set(named, defaults))]
    return "\n".join(lines) + "\n"


@functools.cache
def _defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the defaults of a struct by key. A matrix has thousands of plans, and reading a struct's fields is slow."""
    return {
        field.encode_name: field.default
        for field in msgspec.structs.fields(kind)
        if field.default is not msgspec.NODEFAULT
    }


def _set(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None and value != defaults.get(key)}


def _pairs(values: dict[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in values.items()]


def _value(value: object) -> str:
    """Return a string, number or truth value as TOML writes it.

    JSON writes strings like TOML (TOML 1.0, strings), except DEL, which TOML requires to be escaped.
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
