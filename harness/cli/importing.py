# SPDX-License-Identifier: MIT
"""``harness import``: merges files that a guest supplied after a run into a copy of that run's history."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.output import say_result
from harness.cli.parameters import Json, RunName
from harness.errors import UsageError, system_errors
from harness.invocation import invocation, quoted
from harness.report.escape import printable

if TYPE_CHECKING:
    from harness.capture.offline.alignment import AlignedHistory
    from harness.capture.offline.recorded import RecordedChannel
    from harness.cli.documents import ImportDocument
    from harness.history.reader import History


def import_(
    run: RunName,
    debugcon: Annotated[
        Path | None, typer.Option("--debugcon", metavar="FILE", help="The debug port's stream.")
    ] = None,
    etw: Annotated[
        Path | None, typer.Option("--etw", metavar="FILE", help="An event trace log (.etl).")
    ] = None,
    dbgprint: Annotated[
        Path | None,
        typer.Option(
            "--dbgprint", metavar="FILE", help="The output of the reader of the kernel debugger port."
        ),
    ] = None,
    dbgprint_etw: Annotated[
        Path | None,
        typer.Option(
            "--dbgprint-etw", metavar="FILE", help="The log of a kernel session with DbgPrint (.etl)."
        ),
    ] = None,
    ring: Annotated[
        Path | None, typer.Option("--ring", metavar="FILE", help="The output of hpnctl events --json.")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest", metavar="FILE", help="The driver's manifest; by default the harness's driver's."
        ),
    ] = None,
    driver_map: Annotated[
        Path | None,
        typer.Option(
            "--driver-map",
            metavar="FILE",
            help="The file that maps the driver's events in --etw to records; by default the run's.",
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIR", help="The new run directory; by default RUN-imported."),
    ] = None,
    json: Json = False,
) -> None:
    """Merge channels that were recorded in files into a copy of a run's history, to judge them with it.

    Without a FILE, take the files in RUN that have their usual names and are not in its history yet.
    """
    from harness.capture.mapping.driver_map import kept_in
    from harness.capture.offline.alignment import align
    from harness.capture.offline.joined import host_records, read_all
    from harness.cli.run_set import run_named
    from harness.driver.source import driver_folder
    from harness.history.reader import History

    history = History(run_named(run))
    host = host_records(history)
    given = {
        "debugcon": debugcon,
        "etw": etw,
        "dbgprint": dbgprint,
        "dbgprint-etw": dbgprint_etw,
        "ring": ring,
    }
    files = {channel: file for channel, file in given.items() if file is not None} or _lying_in(history)
    if manifest is not None and driver_map is not None:
        raise UsageError(
            "--manifest and --driver-map exclude each other",
            hint="A map names its manifest itself; --manifest is for events that are the harness's own records.",
        )
    described = driver_map or manifest or kept_in(history.path.parent)
    channels = read_all(files, described or driver_folder() / "src" / "hpnotify.man")
    aligned = align(host, channels)
    directory = into or history.path.parent.with_name(history.path.parent.resolve().name + "-imported")
    _write(directory, history.path.parent, aligned, channels)
    document: ImportDocument = {
        "directory": str(directory),
        "channels": aligned.comparison.channels,
        "different": aligned.comparison.different,
        "differences": aligned.comparison.differences,
        "lost_nowhere": aligned.comparison.lost_nowhere,
        "nowhere": aligned.comparison.nowhere,
        "missing": {channel.account.name: channel.missing for channel in channels},
        "unproven": len(aligned.unproven),
        "widest_ns": aligned.widest_ns,
        "damage": history.damage,
    }
    say_result(document, _lines(directory, aligned, channels, history.damage), json=json)


def _lying_in(history: History) -> dict[str, Path]:
    """Return the channel files in a run directory that are not in its history."""
    from harness.capture.offline.recordings import FILES, recordings

    found = recordings(history)
    if not found:
        raise UsageError(
            f"{history.path.parent} holds no recording of a channel that its history does not have already",
            hint=f"Name the files, or give them their usual names: {', '.join(FILES.values())}.",
        )
    return found


def _write(directory: Path, source: Path, aligned: AlignedHistory, channels: list[RecordedChannel]) -> None:
    """Write the new run directory: the history, and as evidence its source files."""
    from harness.capture.offline.recordings import FILES
    from harness.history.run_directory import FACTS
    from harness.history.writer import HistoryWriter

    with system_errors(f"cannot make {directory}", hint="Give another place with --into DIR."):
        directory.mkdir(mode=0o700)
    with HistoryWriter(directory) as writer:
        for record in aligned.records:
            writer.write(record, host_ns=record.host_ns)
    evidence = {channel.file: FILES[channel.account.name] for channel in channels}
    evidence |= {
        source / name: name for name in (FACTS, "console.log", "qemu.log") if (source / name).is_file()
    }
    for file, name in evidence.items():
        with system_errors(
            f"cannot copy {file} to {directory / name}",
            hint="The history there is whole; free some disk space and import again into another directory.",
        ):
            shutil.copyfile(file, directory / name)


def _lines(
    directory: Path, aligned: AlignedHistory, channels: list[RecordedChannel], damage: str
) -> list[str]:
    from harness.report.run_summary import placed, wrapped

    missing = {channel.account.name: channel.missing for channel in channels}
    lines = [f"{'channel':<10}{'records':>9}{'lost':>7}  what makes an absence in it no evidence"]
    for one in aligned.comparison.channels:
        reasons = "; ".join(missing.get(one.channel, [])) or "nothing known"
        lines.append(
            f"{one.channel:<10}{one.records:>9}{one.lost + one.before + one.after:>7}  {printable(reasons, 300)}"
        )
    if aligned.comparison.lost_nowhere:
        lines.append(f"No channel has {aligned.comparison.lost_nowhere} of the driver's numbers.")
    if aligned.comparison.different:
        shown = aligned.comparison.differences[0]
        lines.append(
            f"The channels differ in {aligned.comparison.different} places, the first: driver {printable(shown.driver)} "
            f"#{shown.seq} {shown.field}: {printable(str(shown.values), 200)}"
        )
    if aligned.unproven:
        lines.append(
            f"{len(aligned.unproven)} silences of the driver prove nothing: records may have come before them or after."
        )
    if damage:
        lines.append(f"The history could be read up to here: {printable(damage, 300)}")
    records = sum(one.records for one in aligned.comparison.channels if one.channel in missing)
    counted = f"{len(channels)} channel{'' if len(channels) == 1 else 's'}, {records} records"
    return [
        *(row for line in lines for row in wrapped(line)),
        *placed("Run directory", quoted(directory)),
        *placed("Go on", invocation("check", directory)),
        f"IMPORTED {counted}: not judged yet",
    ]
