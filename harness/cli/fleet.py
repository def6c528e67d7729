# SPDX-License-Identifier: MIT
"""``harness fleet``: the hosts of a fleet and their cells, its scheduler, its certificates, and draining a host."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.choice import check_choice
from harness.cli.fleet_options import Ca, Cert, FleetLab, Key, Scheduler
from harness.cli.output import say_result
from harness.cli.parameters import Json
from harness.errors import ExitCode, UsageError
from harness.invocation import invocation
from harness.report.duration import duration
from harness.report.escape import cell, columns_of, padded, printable

if TYPE_CHECKING:
    from harness.cli.documents import FleetDocument, ListedHost


group = typer.Typer(
    help="List the hosts of a fleet, the cells on each, and the cells that wait; or manage the hosts."
)

LONGEST_NAME = 24
"""The columns that a host's name may take in the list."""


@group.callback(invoke_without_command=True)
def hosts(
    context: typer.Context,
    scheduler: Scheduler = "",
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    lab: FleetLab = None,
    json: Json = False,
) -> int:
    """List the hosts of a fleet, the cells on each, and the cells that wait; or manage the hosts."""
    if context.invoked_subcommand is not None:
        if scheduler or ca or cert or key or lab or json:
            raise UsageError(
                f"options of 'fleet {context.invoked_subcommand}' must follow that word",
                hint=f"See {invocation('fleet', context.invoked_subcommand, '--help')}",
            )
        return ExitCode.HOLDS
    from harness.cli.fleet_options import fleet_of
    from harness.fleet.engine import Engine

    url, tls = fleet_of(scheduler, lab, ca, cert, key)
    with Engine.connect(url, tls) as engine:
        offered, running = engine.hosts(), engine.running()
        drained, nightlies = engine.drained(), engine.nightlies()
        unheard = engine.unheard()
    found: list[ListedHost] = [
        {
            "host": host.name,
            "instance": host.instance,
            "address": host.address,
            "drained": host.name in drained,
            "vcpus": int(host.resources.get("vcpus", 0)),
            "memory": int(host.resources.get("memory", 0)),
            "harness": host.version_of("harness"),
            "engine": host.version_of("engine"),
            "offers": sorted(
                name
                for name in host.resources
                if name not in ("vcpus", "memory") and not name.startswith("session=")
            ),
            "attempts": sorted(running.get(host.address, [])),
            "unheard": round(unheard.get(host.address, 0.0), 1),
        }
        for host in offered
    ]
    document: FleetDocument = {"scheduler": url, "hosts": found, "nightlies": nightlies}
    say_result(document, _lines(document), json=json)
    return ExitCode.HOLDS


def _lines(document: FleetDocument) -> list[str]:
    from harness.fleet.engine import UNHEARD_S
    from harness.fleet.order import SILENT_S
    from harness.host.budget import size_text
    from harness.report.style import style_for

    names = [
        *(host["host"] for host in document["hosts"]),
        *(one.host for nightly in document["nightlies"] for one in nightly.under_way),
    ]
    wide = max((columns_of(cell(name, LONGEST_NAME)) for name in names), default=0)
    lines = [f"Hosts of {printable(document['scheduler'], 300)}: {len(document['hosts'])}"]
    for host in document["hosts"]:
        under_way = f"{len(host['attempts'])} under way"
        unheard = host["unheard"] > UNHEARD_S
        state = "silent" if unheard else "drained" if host["drained"] else under_way
        has = [
            *(f"instance {host['instance']}" for _ in host["instance"][:1]),
            *(
                name.replace("=", " ")
                for name in host["offers"]
                if not name.startswith(("harness=", "engine="))
            ),
        ]
        lines.append(
            f"  {padded(cell(host['host'], LONGEST_NAME), wide)}  {state:<12} {host['vcpus']:>4} processors"
            f" {size_text(host['memory']):>9}  {printable(', '.join(has), 300)}".rstrip()
        )
        if unheard:
            since = time.strftime("%H:%M:%S", time.localtime(time.time() - host["unheard"]))
            lines.append(
                f"    no heartbeat since {since}, for {duration(host['unheard'])}; {under_way} then. It may be stopped, "
                "or cut off."
            )
    for nightly in document["nightlies"]:
        silent = time.time() - nightly.time
        lines += [
            "",
            printable(
                f"Nightly run {nightly.name} of {nightly.lab}, from {nightly.host}: {nightly.left} left", 300
            ),
        ]
        if silent > SILENT_S:
            lines.append(f"  no report for {duration(silent)}: it may have been killed")
        lines += [
            f"  {padded(cell(one.host, LONGEST_NAME), wide)}  {printable(one.cell, 200)}"
            + ("  sent, not begun" if one.stage == "sent" else "")
            for one in nightly.under_way
        ]
        lines += [
            f"  waits: {printable(one.cell, 200)}  {printable(one.why, 200)}" for one in nightly.waiting
        ]
        lines += [printable(f"  set aside: {name}: {why}", 400) for name, why in nightly.aside.items()]
    style = style_for(sys.stdout)
    return [piece for line in lines for piece in style.fold(line, breaking=True)]


@group.command("drain")
def drain(
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host's name in the fleet.")],
    undo: Annotated[bool, typer.Option("--undo", help="Give the host runs again.")] = False,
    scheduler: Scheduler = "",
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    lab: FleetLab = None,
    json: Json = False,
) -> int:
    """Give a host no more runs; those under way continue. A restarted scheduler has forgotten it."""
    from harness.cli.fleet_options import fleet_of
    from harness.fleet.engine import Engine

    url, tls = fleet_of(scheduler, lab, ca, cert, key)
    with Engine.connect(url, tls) as engine:
        hosts = engine.hosts()
        check_choice("host", host, sorted({each.name for each in hosts}))
        engine.note(["drained", host], 0 if undo else int(time.time()))
        attempts = engine.running()
        running = sum(len(attempts.get(each.address, [])) for each in hosts if each.name == host)
    document = {"host": host, "drained": not undo, "under_way": running}
    text = f"{host} gets runs again." if undo else f"{host} gets no more runs; {running} under way."
    say_result(document, text, json=json)
    return ExitCode.HOLDS


@group.command("scheduler")
def scheduler_command(
    listen: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Listening address: tls://HOST:PORT, or tcp://127.0.0.1:PORT for this host alone.",
        ),
    ] = "tcp://127.0.0.1:8786",
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    lab: FleetLab = None,
    heartbeat: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=2, help="Seconds of silence after which a host counts as lost."),
    ] = 60.0,
) -> int:
    """Run a scheduler until it is interrupted. It stores nothing: nightly runs continue with another one."""
    from harness.cli.fleet_options import fleet_row, tls_of
    from harness.fleet.scheduler import start_scheduler

    row, path = fleet_row(lab)
    server = start_scheduler(listen, tls_of(row, path.parent, ca, cert, key), heartbeat=heartbeat)
    try:
        sys.stderr.write(f"The scheduler listens at {listen}\n")
        sys.stderr.write(f"On each host: {invocation('worker', '--scheduler', listen)}\n")
        sys.stderr.flush()
        while not server.wait(3600):
            pass
    finally:
        server.close()
    return ExitCode.HOLDS


@group.command("certificates")
def certificates(
    hosts: Annotated[
        list[str],
        typer.Argument(metavar="HOST", help="Names or addresses by which other hosts reach each host."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Directory of the certificates; the lab's authority is made there the first time.",
        ),
    ],
    json: Json = False,
) -> int:
    """Make certificates of the lab's own authority for hosts, with their keys."""
    from harness.fleet.certificates import CA_KEY, make_certificates

    if not hosts:
        raise UsageError("fleet certificates needs the names of hosts")
    made = make_certificates(hosts, out)
    document = [{"cert": str(one.cert), "key": str(one.key), "ca": str(one.ca)} for one in made]
    lines = [
        *(f"{one.cert} {one.key}" for one in made),
        f"Copy to each host its own two files and {made[0].ca}.",
        f"Keep {out / CA_KEY} off the hosts: it is needed only to make certificates.",
    ]
    say_result({"certificates": document}, lines, json=json)
    return ExitCode.HOLDS
