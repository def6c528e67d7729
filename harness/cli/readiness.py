# SPDX-License-Identifier: MIT
"""What a fork server does before it forks runs: all that is the same in each of them."""

from __future__ import annotations

import platform

JUDGED = ("SYNC-EXACTLY-TWO", "MEM-ARRIVAL-EVENTUALLY")
"""Rules whose examples are judged."""


def make_ready() -> None:
    """Import what a run by the command line needs, and make what each would make again: its command, and the host's name.

    Nothing here starts a thread or opens a connection: neither may be there when a process is forked.
    """
    import harness.cli.conclusion
    import harness.cli.repro
    import harness.cli.run
    import harness.cli.session
    import harness.contract.checker
    import harness.report.run_summary
    import harness.report.stage_view
    import harness.run.judging
    import harness.run.run  # noqa: F401
    from harness.cli.command_tree import command_for
    from harness.contract.example import examples
    from harness.contract.rules.catalogue import find

    # The functions that judge are compiled on first use (harness.contract.dispatch).
    for rule in filter(None, map(find, JUDGED)):
        examples(rule)
    for command in ("run", "repro"):
        command_for([command])
    # Its first call starts uname to learn the processor (Python: platform).
    platform.platform()
