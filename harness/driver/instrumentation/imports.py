# SPDX-License-Identifier: MIT
"""Imported channels: logs of Windows, channels of another provider of the manifest, or channels of another manifest."""

from __future__ import annotations

from harness.driver.instrumentation.model import ChannelDefinition, ProviderDefinition
from harness.driver.instrumentation.strings import Strings
from harness.driver.instrumentation.vocabulary import CHANNELS, CLASSIC_LOGS


def resolve_imports(providers: list[ProviderDefinition], strings: Strings) -> None:
    """Give every imported channel its source's kind. Channels from Windows also get its values and texts."""
    defined = [each for provider in providers for each in provider.channels if not each.imported]
    for provider in providers:
        for channel in provider.channels:
            if not channel.imported:
                continue
            wanted = channel.chid or channel.name
            standard = next((each for each in (wanted, channel.name) if each in CHANNELS), None)
            if standard is not None:
                become_standard(channel, standard, strings)
                continue
            for other in defined:
                if wanted in (other.chid, other.name) or other.name == channel.name:
                    channel.kind = other.kind
                    break


def standard_channel(name: str, strings: Strings) -> ChannelDefinition:
    """Return a log of Windows that an event names without an import."""
    channel = ChannelDefinition(name, name, 0, "", None, imported=True)
    become_standard(channel, name, strings)
    return channel


def become_standard(channel: ChannelDefinition, name: str, strings: Strings) -> None:
    """Give a channel the properties of a log of Windows. Its events keep the keyword bit of an import, if it has one."""
    channel.value, channel.kind = CHANNELS[name].value, CHANNELS[name].kind
    channel.message = strings.standard("channel", name, name)
    channel.classic = name in CLASSIC_LOGS
