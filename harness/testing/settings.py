# SPDX-License-Identifier: MIT
"""The plugin's settings: one table of what can be set, and one way to set each: option, environment variable or ini key.

The command line beats the environment, which beats the ini file. A value that cannot be is refused before anything is
collected, in words that say where it was set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSetting:
    """One setting. ``check`` returns what is wrong with a value that is not empty, "" if nothing; "" means: not set.

    A ``path`` in the ini file is meant from where that file is, like pytest's own.
    """

    name: str
    metavar: str
    help: str
    default: str = ""
    path: bool = False
    check: Callable[[str], str] = lambda _: ""

    @property
    def option(self) -> str:
        """The command-line option."""
        return f"--hotplug-{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"HOTPLUG_{self.name.replace('-', '_').upper()}"

    @property
    def key(self) -> str:
        """The key in pytest's ini file."""
        return f"hotplug_{self.name.replace('-', '_')}"

    @property
    def attribute(self) -> str:
        """Where pytest keeps the option."""
        return self.key


def _named(what: str, known: Callable[[], Iterable[str]]) -> Callable[[str], str]:
    def check(value: str) -> str:
        from harness.choice import suggest

        names = list(known())
        if value in names:
            return ""
        return f"no {what} is called {value!r}\n  {suggest(value, names)}"

    return check


def _guests() -> Iterable[str]:
    from harness.guest.guest_types import GUEST_TYPES

    return GUEST_TYPES


def _seconds(value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    return "" if 0 < number <= 86400 else f"{value!r} is no number of seconds from 1 to 86400"


def _size(value: str) -> str:
    from harness.size import Size

    try:
        Size(value)
    except ValueError as error:
        return str(error)
    return ""


def _there(value: str) -> str:
    return "" if Path(value).exists() else f"there is no file or folder {value!r}"


SETTINGS = (
    PluginSetting(
        name="guest", metavar="NAME", default="twin", check=_named("guest", _guests),
        help="the guest that tests run on, unless a test has the marker guest",
    ),
    PluginSetting(
        name="accel", metavar="auto|kvm|tcg", default="auto",
        check=_named("accelerator", lambda: ("auto", "kvm", "tcg")), help="accelerator of the guests",
    ),
    PluginSetting(
        name="boot", metavar="restore|cold", check=_named("way to boot", lambda: ("restore", "cold")),
        help="begin from the guest's saved ready state, or boot it anew (default: restore what can be restored)",
    ),
    PluginSetting(name="qemu", path=True, metavar="PATH", help="the QEMU binary to use"),
    PluginSetting(
        name="backend", metavar="qemu|libvirt", default="qemu",
        check=_named("backend", lambda: ("qemu", "libvirt")), help="start QEMU directly, or have libvirt do it",
    ),
    PluginSetting(name="connect", metavar="URI", help="where libvirt is, as for virsh -c"),
    PluginSetting(
        name="driver", path=True, metavar="PATH", check=_there,
        help="the driver to test: its .sys file or its folder; on the twin the folder of its sources",
    ),
    PluginSetting(
        name="driver-map", path=True, metavar="FILE", check=_there,
        help="which of the driver's own trace events are which records (TOML, see docs/your-driver.md)",
    ),
    PluginSetting(
        name="kd", metavar="listen|debugger", check=_named("use of the debugger's port", lambda: ("listen", "debugger")),
        help="record what drivers print on the kernel debugger's port, or hand the port to a debugger",
    ),
    PluginSetting(
        name="runs", path=True, metavar="DIR", help="where run directories are made (default: pytest's own temporary directory)"
    ),
    PluginSetting(name="boot-timeout", metavar="SECONDS", default="90", check=_seconds, help="how long a boot may take"),
    PluginSetting(
        name="evidence-timeout", metavar="SECONDS", default="60", check=_seconds,
        help="how long collecting evidence may take, once a run failed",
    ),
    PluginSetting(
        name="dump", metavar="SIZE", check=_size,
        help="keep a dump of a failed guest's memory, if not larger than this",
    ),
)  # fmt: skip
"""Everything that can be set, in the order in which ``--help`` and docs/pytest.md list it."""

_BY_NAME = {setting.name: setting for setting in SETTINGS}


def _from_ini(config: pytest.Config, setting: PluginSetting) -> str:
    value = str(config.getini(setting.key))
    # "qemu-system-x86_64" is a program that is looked for, "./qemu" a file.
    named = setting.name == "qemu" and "/" not in value
    if value and setting.path and config.inipath is not None and not named:
        return str(config.inipath.parent / value)
    return value


class Settings:
    """What is set. ``settings["accel"]`` is its value, the default if nobody set it."""

    def __init__(self, config: pytest.Config, environment: Mapping[str, str] = os.environ) -> None:
        self._values: dict[str, tuple[str, str]] = {}
        for setting in SETTINGS:
            for value, place in (
                (config.getoption(setting.attribute, None), setting.option),
                (environment.get(setting.variable), f"{setting.variable} in the environment"),
                (_from_ini(config, setting), f"{setting.key} in {config.inipath or 'the ini file'}"),
            ):
                if value:
                    self._values[setting.name] = (str(value), place)
                    break

    def __getitem__(self, name: str) -> str:
        """Return a setting's value, "" if it has none."""
        setting = _BY_NAME[name]
        return self._values.get(name, (setting.default, ""))[0]

    def given(self, name: str) -> bool:
        """Return whether somebody set it."""
        return name in self._values

    def check(self) -> None:
        """Refuse what cannot be. Raises pytest.UsageError."""
        for name, (value, place) in self._values.items():
            if wrong := _BY_NAME[name].check(value):
                raise pytest.UsageError(f"{place}: {wrong}")
        if self["connect"] and self["backend"] != "libvirt":
            raise pytest.UsageError(
                f"{self._values['connect'][1]}: it is libvirt's, and the backend is {self['backend']!r}\n"
                "  Say --hotplug-backend libvirt too."
            )


def add_settings(parser: pytest.Parser) -> None:
    """Add each setting's option and ini key."""
    group = parser.getgroup("hotplug harness", "hotplug harness: guests, drivers and what is recorded")
    for setting in SETTINGS:
        default = f" (default: {setting.default})" if setting.default else ""
        group.addoption(
            setting.option, dest=setting.attribute, default=None, metavar=setting.metavar,
            help=f"{setting.help}{default}; also {setting.variable}, {setting.key} =",
        )  # fmt: skip
        parser.addini(setting.key, f"{setting.help}{default}", default="")
