# SPDX-License-Identifier: MIT
"""A server of the engine in this process: a scheduler or a worker, on an event loop in its own thread.

The main thread is free for signals. Any signal that ends the process closes the server first.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from harness.errors import HarnessError, InfrastructureError

CLOSE_S = 60.0
"""Seconds for a server to close, including the end of its cells."""


class EngineServer:
    """Runs ``make``'s server in a thread until it finishes, or until :meth:`close`. ``name`` is for messages."""

    def __init__(self, name: str, make: Callable[[], Awaitable[Any]]) -> None:
        self.name = name
        self.server: Any = None
        self.failure: BaseException | None = None
        self._make = make
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"fleet {name}", daemon=True)

    def start(self, seconds: float) -> None:
        """Start it. Raises InfrastructureError if it does not start in time."""
        self._thread.start()
        if not self._started.wait(seconds) or self.failure is not None:
            self.close()
            error = self.failure
            if isinstance(error, HarnessError):
                raise error
            why = f"no answer within {seconds:g} s" if error is None else f"{type(error).__name__}: {error}"
            raise InfrastructureError(f"the {self.name} does not start: {' '.join(why.split())[:400]}")

    def wait(self, seconds: float) -> bool:
        """Return whether it has finished. Wait at most ``seconds``."""
        return self._over.wait(seconds)

    def tell(self, topic: str, what: str) -> None:
        """Let a worker that runs log an event at its scheduler."""
        if self._loop is not None and self.server is not None and not self._over.is_set():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.server.log_event, topic, what)

    def close(self) -> None:
        """Close the server and wait for its end."""
        loop, server = self._loop, self.server
        if loop is not None and server is not None and not self._over.is_set():
            with contextlib.suppress(RuntimeError):
                asyncio.run_coroutine_threadsafe(_closed(server), loop)
        elif loop is not None and not self._over.is_set():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(loop.stop)
        self._over.wait(CLOSE_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - told by start()
            self.failure = error
        finally:
            self._started.set()
            self._over.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.server = await self._make()
        self._started.set()
        await self.server.finished()


async def _closed(server: Any) -> None:
    with contextlib.suppress(Exception):
        await server.close()
