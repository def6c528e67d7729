# SPDX-License-Identifier: MIT
"""The tables of the result store. ``migrations/`` creates them. A test in ``tests/store/`` compares the two.

Times ``at`` are seconds since the epoch, UTC. Texts that a guest may have chosen are limited by :func:`text`. They
contain no null character, because PostgreSQL refuses it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

PROGRAM, FORMAT = "hotplug-harness", "2"
"""The contents of the table ``meta``: the store's program, and its format. A newer format has a greater number."""

LONGEST = 1000
"""The most characters of one text that are stored."""


def text(value: object, limit: int = LONGEST) -> str:
    """Return a text that both databases accept: without null characters and lone surrogates, and of limited length."""
    said = str(value)[:limit].replace("\0", "\ufffd")
    return said.encode("utf-8", "replace").decode()


class Base(DeclarativeBase):
    """The base class of all tables."""


class StoredMeta(Base):
    """The store's own description: ``program`` and ``format``."""

    __tablename__ = "meta"
    key: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class StoredHost(Base):
    """A host of the lab, "" where it is unknown."""

    __tablename__ = "host"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)


class StoredBuild(Base):
    """The tested build: the guest and its version, the QEMU build, and the driver's digest."""

    __tablename__ = "build"
    __table_args__ = (UniqueConstraint("guest", "guest_build", "qemu_build", "driver_digest"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    guest: Mapped[str] = mapped_column(Text)
    guest_build: Mapped[str] = mapped_column(Text)
    qemu_build: Mapped[str] = mapped_column(Text)
    driver_digest: Mapped[str] = mapped_column(Text)


class StoredPoint(Base):
    """A point of the matrix, ``GUEST.QEMU.TOPOLOGY.PLAN``. "-" stands for a part that a run outside of nightly runs
    lacks."""

    __tablename__ = "point"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    guest: Mapped[str] = mapped_column(Text)
    qemu: Mapped[str] = mapped_column(Text)
    topology: Mapped[str] = mapped_column(Text)
    plan: Mapped[str] = mapped_column(Text)


class StoredRule(Base):
    """A rule of the contract, as described by the last run loaded."""

    __tablename__ = "rule"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    level: Mapped[str] = mapped_column(Text)


class StoredNightly(Base):
    """A nightly run. ``cells`` were planned. The table ``run`` has those that have ended."""

    __tablename__ = "nightly"
    __table_args__ = (UniqueConstraint("lab", "name", "at"), Index("ix_nightly_time", "at"))
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    lab: Mapped[str] = mapped_column(Text)
    at: Mapped[int] = mapped_column(BigInteger)
    seed: Mapped[int] = mapped_column(BigInteger)
    cells: Mapped[int] = mapped_column(Integer)
    directory: Mapped[str] = mapped_column(Text)
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id"))


class StoredRun(Base):
    """One run, or a cell of a nightly run that left no run directory (``directory`` is then "").

    ``digest`` is that of the files read: a directory that has changed is read again. ``word`` is its result: holds,
    violated, unknown, plan, infrastructure or skipped. ``counted`` is false for a first attempt that was repeated.
    ``holds`` to ``not_applicable`` count its rules. ``fault`` is the injected fault. ``removed`` is when retention
    removed its directory, 0 if it did not.
    """

    __tablename__ = "run"
    __table_args__ = (
        Index("ix_run_time", "at"),
        Index("ix_run_nightly", "nightly_id"),
        Index("ix_run_point", "point_id", "at"),
        Index("ix_run_retry", "retry_of"),
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    digest: Mapped[str] = mapped_column(String(64))
    directory: Mapped[str] = mapped_column(Text)
    nightly_id: Mapped[int | None] = mapped_column(ForeignKey("nightly.id"))
    point_id: Mapped[int] = mapped_column(ForeignKey("point.id"))
    build_id: Mapped[int] = mapped_column(ForeignKey("build.id"))
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id"))
    repetition: Mapped[int] = mapped_column(Integer)
    counted: Mapped[bool]
    at: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(Float)
    word: Mapped[str] = mapped_column(String(16))
    verdict: Mapped[str] = mapped_column(String(16))
    failure_class: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(BigInteger)
    harness: Mapped[str] = mapped_column(Text)
    fault: Mapped[str] = mapped_column(Text)
    retry_of: Mapped[str] = mapped_column(Text)
    holds: Mapped[int] = mapped_column(Integer)
    violated: Mapped[int] = mapped_column(Integer)
    unknown: Mapped[int] = mapped_column(Integer)
    not_applicable: Mapped[int] = mapped_column(Integer)
    removed: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")


class StoredVerdict(Base):
    """The verdict of a rule that had a result in a run. ``build_id`` and ``at`` are copies of the run's, for the
    indexes."""

    __tablename__ = "rule_verdict"
    __table_args__ = (
        Index("ix_rule_build", "rule_id", "build_id", "verdict", "at"),
        Index("ix_rule_time", "rule_id", "at", "exercised"),
        {"sqlite_with_rowid": False},
    )
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    rule_id: Mapped[int] = mapped_column(ForeignKey("rule.id"), primary_key=True)
    build_id: Mapped[int] = mapped_column(Integer)
    at: Mapped[int] = mapped_column(BigInteger)
    verdict: Mapped[str] = mapped_column(String(16))
    exercised: Mapped[int] = mapped_column(Integer)
    times: Mapped[int] = mapped_column(Integer)


class StoredIncident(Base):
    """A failure signature over all runs (:mod:`harness.store.signature`)."""

    __tablename__ = "incident"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    signature: Mapped[str] = mapped_column(String(16), unique=True)
    rule: Mapped[str] = mapped_column(Text)
    failure_class: Mapped[str] = mapped_column(String(40))
    witness: Mapped[str] = mapped_column(Text)


class StoredFailure(Base):
    """Why a run does not hold. ``nightly_id`` and ``at`` are copies of the run's."""

    __tablename__ = "failure"
    __table_args__ = (
        Index("ix_failure_incident", "incident_id", "at"),
        Index("ix_failure_nightly", "nightly_id", "incident_id"),
        Index("ix_failure_time", "at"),
        {"sqlite_with_rowid": False},
    )
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id"), primary_key=True)
    nightly_id: Mapped[int | None] = mapped_column(Integer)
    at: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)


class StoredObservation(Base):
    """A value that a rule of the level ``observe`` saw, and how often."""

    __tablename__ = "observation"
    __table_args__ = ({"sqlite_with_rowid": False},)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[str] = mapped_column(Text, primary_key=True)
    times: Mapped[int] = mapped_column(Integer)


class StoredTiming(Base):
    """A duration in milliseconds. ``number`` counts what a run does more than once."""

    __tablename__ = "timing"
    __table_args__ = (Index("ix_timing", "what", "host_id", "at", "ms"), {"sqlite_with_rowid": False})
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    what: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    host_id: Mapped[int] = mapped_column(Integer)
    at: Mapped[int] = mapped_column(BigInteger)
    ms: Mapped[float] = mapped_column(Float)


class StoredArtifact(Base):
    """The SHA-256 of a guest file that was executed."""

    __tablename__ = "artifact"
    __table_args__ = ({"sqlite_with_rowid": False},)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
