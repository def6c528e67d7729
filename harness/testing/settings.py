# SPDX-License-Identifier: MIT
"""The plugin's settings: the options of a run, each set by an option, an environment variable or an ini key.

The command line overrides the environment, which overrides the ini file. An invalid value is refused before
collection, with a message that says where it was set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.errors import UsageError
from harness.run.option import Option
from harness.run.options import RunOptions, made, options_at, shown


class PluginSetting(NamedTuple):
    """One setting: its option of a run, and its name in each place. ``shown`` is its default as text."""

    name: str
    option: str
    variable: str
    key: str
    metavar: str
    shown: str
    source: Option


def _setting(source: Option) -> PluginSetting:
    key = source.key("pytest")
    name = key.replace("_", "-")
    return PluginSetting(
        name, f"--hotplug-{name}", f"HOTPLUG_{key.upper()}", f"hotplug_{key}",
        source.metavar or "|".join(source.words), shown(source, "pytest"), source,
    )  # fmt: skip


SETTINGS = tuple(_setting(source) for source in options_at("pytest"))
"""All settings, in the order of ``--help`` and docs/pytest.md."""

_BY_NAME = {setting.name: setting for setting in SETTINGS}
_BY_FLAG = {f"--{one.source.name}": one.option for one in SETTINGS} | {
    f"--{flag}": f"{one.option}={one.source.text(value)}"
    for one in SETTINGS
    for flag, (value, _) in one.source.flags.items()
}


def spoken(text: str) -> str:
    """Return a message or a hint of the harness with the plugin's names of the options."""
    return re.sub(r"(?<![\w-])--[a-z-]+", lambda flag: _BY_FLAG.get(flag[0], flag[0]), text)


def _from_ini(config: pytest.Config, setting: PluginSetting) -> str:
    """Return the value in the ini file; a path there is relative to the file."""
    value = str(config.getini(setting.key))
    # "qemu-system-x86_64" is a program that is searched on PATH, "./qemu" a file.
    named = setting.name == "qemu" and "/" not in value
    if value and setting.source.path and config.inipath is not None and not named:
        return str(config.inipath.parent / value)
    return value


class Settings:
    """The values of the settings. ``settings["accel"]`` is the set value, or the default."""

    def __init__(self, config: pytest.Config, environment: Mapping[str, str] = os.environ) -> None:
        self._values: dict[str, tuple[str, str]] = {}
        for setting in SETTINGS:
            for value, place in (
                (config.getoption(setting.key, None), setting.option),
                (environment.get(setting.variable), f"{setting.variable} in the environment"),
                (_from_ini(config, setting), f"{setting.key} in {config.inipath or 'the ini file'}"),
            ):
                if value:
                    self._values[setting.name] = (str(value), place)
                    break

    def __getitem__(self, name: str) -> str:
        """Return a setting's value, "" if it has none."""
        setting = _BY_NAME[name]
        return self._values.get(name, (setting.shown, ""))[0]

    def check(self) -> None:
        """Refuse values that are invalid for every guest. Raises pytest.UsageError."""
        try:
            if self._values:
                self.options({"guest": "twin"})
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error

    def options(self, more: Mapping[str, Any]) -> RunOptions:
        """Return the options of a run, with ``more`` by field over what is set. Raises UsageError."""
        values: dict[str, Any] = {}
        where = ""
        try:
            for name, (text, place) in self._values.items():
                option, where = _BY_NAME[name].source, f"{place}: "
                value = option.read(text)
                # Absolute, so that the run can be repeated from anywhere.
                values[option.field] = str(Path(text).resolve()) if option.exist else value
            where = ""
            return made("pytest", {**values, **more})
        except UsageError as error:
            raise UsageError(where + spoken(error.message), hint=spoken(error.hint)) from error


def add_settings(parser: pytest.Parser) -> None:
    """Add each setting's option and ini key."""
    group = parser.getgroup("hotplug harness", "hotplug harness: guests, drivers and what is recorded")
    for setting in SETTINGS:
        default = f" (default: {setting.shown})" if setting.shown else ""
        says = setting.source.help.rstrip(".") + default
        group.addoption(
            setting.option, dest=setting.key, default=None, metavar=setting.metavar,
            help=f"{says}; also {setting.variable}, {setting.key} =",
        )  # fmt: skip
        parser.addini(setting.key, says, default="")
