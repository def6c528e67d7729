# SPDX-License-Identifier: MIT
"""Run directories return through a bucket of S3, at a server of the test's own (moto)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet.test_results_place import REPORT, content, made

from harness.errors import InfrastructureError
from harness.fleet.results_place import PIECE, ResultsPlace

pytest.importorskip("s3fs", reason="needs s3fs: tox -e s3")
server = pytest.importorskip("moto.server", reason="needs moto: tox -e s3")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket, and the variables that lead to its server."""
    import boto3

    one = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    one.start()
    host, port = one.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="lab")
    yield "s3://lab/results"
    one.stop()


def test_run_directories_come_back_by_s3(bucket: str, tmp_path: Path) -> None:
    """What was sent in pieces arrives, and is forgotten; a cut transfer goes on with what is missing."""
    work = made(tmp_path, 2 * PIECE + 5)
    exchange = ResultsPlace(bucket)
    exchange.check()
    assert [] == exchange.attempts("n")
    written: list[str] = []
    write = exchange._write

    def cut(place: str, name: str, data: bytes) -> None:
        if len(written) == 1:
            raise OSError("the link is cut")
        written.append(name)
        write(place, name, data)

    exchange._write = cut  # type: ignore[method-assign]
    with pytest.raises(InfrastructureError, match="the link is cut"):
        exchange.send("n", REPORT, work, ["runs", "output"])
    assert [] == exchange.attempts("n")
    again = ResultsPlace(bucket)
    sent: list[str] = []
    write_again = again._write
    again._write = lambda place, name, data: (sent.append(name), write_again(place, name, data))[1]  # type: ignore[method-assign]
    again.send("n", REPORT, work, ["runs", "output"])
    assert written[0] not in sent
    reader = ResultsPlace(bucket)
    assert ["a-1"] == reader.attempts("n")
    arrived = reader.receive("n", reader.note("n", "a-1"), tmp_path / "in")
    assert content(work) == content(arrived)
    reader.forget("n", "a-1")
    assert [] == ResultsPlace(bucket).attempts("n")


def test_a_bucket_that_is_not_there_is_said(bucket: str) -> None:
    """In words, with its address."""
    with pytest.raises(InfrastructureError, match="the results at s3://nosuch/results cannot be used"):
        ResultsPlace("s3://nosuch/results").check()
