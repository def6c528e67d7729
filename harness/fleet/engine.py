# SPDX-License-Identifier: MIT
"""The engine, dask.distributed: its addresses, TLS, and the nightly run's connection to a scheduler.

The engine's own retries are off: an order is bound to one worker, and fails in the scheduler when that worker is lost.
The nightly run itself ensures what the engine does not promise: that a worker lives, that a cell ends in time, and
that it is counted once.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import ipaddress
import itertools
import queue
import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

import msgspec

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.fleet.order import HostAnswer, HostQuestion, NightlyNote, decode, encode
from harness.fleet.scheduler_probe import SchedulerLost, probe
from harness.fleet.tls import TlsFiles, security
from harness.invocation import invocation
from harness.package import missing_extra

if TYPE_CHECKING:
    from distributed import Client

EXAMPLE = "tls://lab1.example.org:8786"
CONNECT_S = 10.0
"""Seconds for one attempt to reach a scheduler."""
CALL_S = 30.0
"""Seconds for a scheduler to answer. A stopped scheduler accepts connections and does not answer."""
ASK_S = 20.0
"""Seconds for a host to answer what it can run."""
MOST_OFFERS = 200
"""The most things that one host offers."""
ROOT = "hotplug-harness"
"""The key of this program's values in the scheduler's metadata."""
BEGUN = "hotplug-harness-begun"
"""The topic under which hosts report the name of each order that begins."""
ENDING = "hotplug-harness-ending"
"""The topic under which a worker that was told to end reports its session."""

CLOCK = "hotplug-harness-clock"
"""The topic of an empty event, of which the scheduler notes the time."""
UNHEARD_S = 10.0
"""Seconds without a heartbeat after which a worker is listed as silent. Workers send one every 0.5 to 2 s in a fleet of up to
200 (distributed 2026.8: scheduler.py, heartbeat_interval)."""


class OfferedHost(msgspec.Struct, frozen=True):
    """A worker known to the scheduler. ``name`` is the host's, and ``instance`` tells several workers of one host apart."""

    address: str
    name: str
    instance: str
    resources: dict[str, float]

    @property
    def session(self) -> str:
        """What identifies this start of the worker, "" for a worker that is not ``harness worker``."""
        return self.version_of("session")

    def version_of(self, what: str) -> str:
        """Return the worker's version of ``harness`` or ``engine``, "" if it gives none."""
        return next((name.partition("=")[2] for name in self.resources if name.startswith(f"{what}=")), "")


class EndedOrder(msgspec.Struct, frozen=True):
    """An order that has ended. ``answer`` is the returned text, None if the order failed because of ``why``.

    ``cancelled`` is whether somebody cancelled it, or the connection was made anew. It says nothing about the host.
    ``lost`` is whether it failed because its worker was lost.
    """

    attempt: str
    answer: str | None
    why: str = ""
    cancelled: bool = False
    lost: bool = False


def require_engine() -> None:
    """Raise MissingPart if the engine is not installed. It is not loaded: that takes 0.2 s, and not all who need it do it now."""
    if not all(importlib.util.find_spec(name) for name in ("dask", "distributed", "fsspec")):
        raise missing_extra("runs on many hosts need dask.distributed and fsspec", "fleet")


def engine_version() -> str:
    """Return the engine's version."""
    import distributed

    return str(distributed.__version__)


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is this host alone."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def check_address(url: str, tls: TlsFiles | None) -> str:
    """Return the address of a scheduler. Raises UsageError for an invalid address, and for another host without
    TLS."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageError(f"the scheduler {url[:200]!r}: {error}", hint=f"For example {EXAMPLE}") from error
    if parts.scheme not in ("tcp", "tls") or not host or not port or parts.path or parts.query:
        raise UsageError(
            f"the scheduler must be tls://HOST:PORT, or tcp://127.0.0.1:PORT on this host, not {url[:200]!r}",
            hint=f"For example {EXAMPLE}",
        )
    if parts.username is not None or parts.password is not None:
        raise UsageError("the scheduler's address must not have a user or a password in it")
    if parts.scheme == "tcp" and not is_loopback(host):
        raise UsageError(
            f"{url}: without TLS a scheduler can be used on this host only, and {host} is "
            + ("every address of this host, for all hosts" if host in ("0.0.0.0", "::") else "another host"),  # noqa: S104
            hint="A user who can reach a scheduler can run programs on all its hosts. Use tls:// and certificates: "
            + invocation("fleet", "certificates", "HOST", "--out", "DIR"),
        )
    if parts.scheme == "tls" and tls is None:
        raise UsageError(
            f"{url}: TLS needs the lab's own certificates",
            hint="Give --ca, --cert and --key, or [fleet] ca, cert and key in lab.toml. To make them: "
            + invocation("fleet", "certificates", "HOST", "--out", "DIR"),
        )
    return url


def settle_engine() -> None:
    """Set options that no file or variable of this host may change: no retries, no task stealing, no public web
    server."""
    import logging

    import dask
    import distributed  # noqa: F401 - it sets levels of its loggers when it is imported

    dask.config.set(
        {
            "distributed.scheduler.allowed-failures": 0,
            "distributed.scheduler.work-stealing": False,
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            "distributed.scheduler.dashboard.status.task-stream-length": 1,
            "distributed.admin.system-monitor.gil.enabled": False,
            # Its defaults of 20 and 500 ms cost an idle host 1 % of a processor, for a dashboard that is off.
            "distributed.admin.tick.interval": "1s",
            "distributed.admin.system-monitor.interval": "10s",
            "distributed.comm.timeouts.connect": f"{CONNECT_S:g}s",
            "distributed.worker.profile.enabled": False,
        }
    )
    # The harness reports errors itself. The engine's messages are shown with HOTPLUG_HARNESS_DEBUG only.
    for name in ("distributed", "tornado", "asyncio", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


class Engine:
    """A connection to a scheduler. ``with Engine.connect(url, tls) as engine: …``."""

    def __init__(self, url: str, client: Client) -> None:
        self.url = url
        self._client = client
        self._futures: dict[str, Any] = {}
        self._ended: queue.SimpleQueue[EndedOrder] = queue.SimpleQueue()
        self._begun: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ending: queue.SimpleQueue[str] = queue.SimpleQueue()
        for topic, said in ((BEGUN, self._begun), (ENDING, self._ending)):
            client.subscribe_topic(topic, functools.partial(_heard, said))

    @classmethod
    def connect(cls, url: str, tls: TlsFiles | None, *, seconds: float = CONNECT_S) -> Self:
        """Connect within ``seconds``. Raises SchedulerLost. Raises UsageError for an invalid address, MissingPart
        without the extra."""
        require_engine()
        check_address(url, tls)
        # The engine's client would wait without end for a scheduler that is stopped and sends nothing.
        probe(url, tls, seconds)
        settle_engine()
        from distributed import Client

        try:
            client = Client(
                url, security=security(tls), timeout=seconds, set_as_default=False, name="harness", direct_to_workers=False
            )  # fmt: skip
        except Exception as error:
            raise SchedulerLost(
                f"the scheduler {url} cannot be reached: {_said(error)}",
                hint="Check that it is a scheduler of the same version of dask.distributed.",
            ) from error
        return cls(url, client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect from the scheduler. Orders under way are cancelled. A second call does nothing."""
        for attempt in list(self._futures):
            self.cancel(attempt)
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)

    def hosts(self) -> list[OfferedHost]:
        """Return the live workers. Raises SchedulerLost."""
        # Client.scheduler_info() returns what it knew before when it cannot ask the scheduler.
        workers = self._call("identity", n_workers=-1)["workers"]
        found = []
        for address, about in workers.items():
            name, _, instance = str(about.get("name", "")).partition("/")
            found.append(OfferedHost(str(address), name[:200], instance[:200], _offers(about)))
        return sorted(found, key=lambda host: (host.name, host.address))

    def unheard(self) -> dict[str, float]:
        """Return for how many seconds each worker has sent no heartbeat, by address. Raises SchedulerLost.

        Both times are the scheduler's: clocks of hosts differ.
        """
        workers = self._call("identity", n_workers=-1)["workers"]
        self._call("log_event", topic=CLOCK, msg="")
        now = float(self._call("events", topic=CLOCK)[-1][0])
        return {
            str(address): max(0.0, now - float(about.get("last_seen", now)))
            for address, about in workers.items()
        }

    def forget(self, host: OfferedHost) -> None:
        """Let the scheduler forget a worker that is gone, which it has not noticed yet. Raises SchedulerLost."""
        self._call("unregister", address=host.address, stimulus_id="harness-worker-gone", close=False)

    def ask(self, hosts: list[OfferedHost], question: HostQuestion) -> dict[str, HostAnswer]:
        """Ask hosts concurrently what they can run. Return the answers by address. A host that does not answer in time
        has none."""
        text = encode(question)
        deadline = Deadline(ASK_S, "ask the hosts")
        answers = {}
        with self._reaching():
            futures = {
                # A unique name: two nightly runs, or the same one again, must not get each other's answer.
                host.address: self._submit(f"question-{secrets.token_hex(8)}", text, host.address, {})
                for host in hosts
            }
        for address, future in futures.items():
            # Any error of a host counts as no answer. The host is asked again.
            with contextlib.suppress(Exception):
                text = future.result(timeout=max(0.05, deadline.remaining()))
                answers[address] = decode(text, HostAnswer, whose=address)
            future.release()
        return answers

    def send(self, attempt: str, text: str, host: OfferedHost, resources: dict[str, float]) -> None:
        """Send an order to one host. :meth:`ended` reports its end. Raises SchedulerLost."""
        with self._reaching():
            future = self._submit(attempt, text, host.address, resources)
        self._futures[attempt] = future
        future.add_done_callback(lambda ended: self._ended.put(_ended(attempt, ended)))

    def ended(self, seconds: float) -> Iterator[EndedOrder]:
        """Yield orders that have ended. Wait at most ``seconds`` for the first."""
        with contextlib.suppress(queue.Empty):
            found = self._ended.get(timeout=seconds)
            while True:
                if self._futures.pop(found.attempt, None) is not None:
                    yield found
                found = self._ended.get_nowait()

    def begun(self) -> Iterator[str]:
        """Yield the orders that have begun on their hosts since the last call, those of other nightly runs too."""
        return _taken(self._begun)

    def ending(self) -> Iterator[str]:
        """Yield the sessions of the workers that were told to end since the last call."""
        return _taken(self._ending)

    def cancel(self, attempt: str) -> None:
        """Cancel an order. Its host ends what it started. :meth:`ended` does not report it."""
        future = self._futures.pop(attempt, None)
        if future is not None:
            with contextlib.suppress(Exception):
                future.cancel(force=True, reason="the nightly run cancelled it")

    def note(self, keys: list[str], value: object) -> None:
        """Store a value in the scheduler for all its clients. It is lost with the scheduler. Raises SchedulerLost."""
        self._call("set_metadata", keys=[ROOT, *keys], value=value)

    def noted(self, keys: list[str]) -> Any:
        """Return a stored value, {} for none. Raises SchedulerLost."""
        return self._call("get_metadata", keys=[ROOT, *keys], default={})

    def drained(self) -> set[str]:
        """Return the names of the hosts that get no more runs. Raises SchedulerLost."""
        said = self.noted(["drained"])
        return {str(name) for name, since in said.items() if since} if isinstance(said, dict) else set()

    def nightlies(self) -> list[NightlyNote]:
        """Return the notes of the nightly runs, without those that are not valid. Raises SchedulerLost."""
        said = self.noted(["nightlies"])
        found = []
        for one in said.values() if isinstance(said, dict) else ():
            # A nightly run that has ended leaves None. Another version writes other notes.
            with contextlib.suppress(msgspec.ValidationError):
                found.append(msgspec.convert(one, NightlyNote))
        return found

    def running(self) -> dict[str, list[str]]:
        """Return the names of the orders that each worker has, by address. Raises SchedulerLost."""
        found = self._call("processing", workers=None)
        return {str(address): [str(key) for key in keys] for address, keys in found.items()}

    def _call(self, what: str, **said: Any) -> Any:
        """Call the scheduler as the client's own methods do, but for :data:`CALL_S` at most. Raises SchedulerLost."""
        with self._reaching():
            return self._client.sync(getattr(self._client.scheduler, what), callback_timeout=CALL_S, **said)

    def _submit(self, key: str, text: str, address: str, resources: dict[str, float]) -> Any:
        from harness.fleet.entry import perform

        return self._client.submit(
            perform, text, key=key, workers=[address], allow_other_workers=False, resources=resources, retries=0, pure=False
        )  # fmt: skip

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        from distributed.comm import CommClosedError

        try:
            if self._client.status != "running":
                # The engine's word for a connection that it makes again by itself is "connecting".
                raise SchedulerLost(f"the scheduler {self.url} is lost: it closed the connection")
            yield
        except SchedulerLost:
            raise
        except (OSError, TimeoutError, CommClosedError, RuntimeError) as error:
            raise SchedulerLost(f"the scheduler {self.url} is lost: {_said(error)}") from error


def _heard(said: queue.SimpleQueue[str], event: tuple[float, Any]) -> None:
    said.put(str(event[1])[:1000])


def _taken(said: queue.SimpleQueue[str]) -> Iterator[str]:
    with contextlib.suppress(queue.Empty):
        while True:
            yield said.get_nowait()


def _ended(attempt: str, future: Any) -> EndedOrder:
    from distributed import KilledWorker

    status: Literal["finished", "error", "cancelled", "lost"] = future.status
    lost = False
    try:
        if status == "finished":
            return EndedOrder(attempt, future.result(timeout=CONNECT_S))
        why = f"the order is {status}"
        if status == "error":
            error = future.exception(timeout=CONNECT_S)
            why, lost = _said(error), isinstance(error, KilledWorker)
    except Exception as error:  # noqa: BLE001 - whatever a library of the host raised
        why = _said(error)
    return EndedOrder(attempt, None, why, cancelled=status == "cancelled", lost=lost)


def _offers(about: dict[str, Any]) -> dict[str, float]:
    """Return what a worker offers, without values that ``harness worker`` cannot have sent."""
    offers = about.get("resources")
    pairs = itertools.islice(offers.items(), MOST_OFFERS) if isinstance(offers, dict) else ()
    return {
        str(name)[:200]: float(value)
        for name, value in pairs
        if isinstance(value, int | float) and 0 <= value < 1e18
    }


def _said(error: BaseException | None) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def reachable(
    url: str, tls: TlsFiles | None, deadline: Deadline, tick: Callable[[], None] = lambda: None
) -> Engine:
    """Connect, repeatedly until the deadline. ``tick`` is called before each attempt. Raises SchedulerLost."""
    last: list[SchedulerLost] = []

    def attempt() -> Engine | None:
        tick()
        try:
            return Engine.connect(url, tls, seconds=min(CONNECT_S, max(1.0, deadline.remaining())))
        except SchedulerLost as error:
            last[:] = [error]
            return None

    return deadline.poll(attempt, interval=1.0, error=lambda: last[0])
