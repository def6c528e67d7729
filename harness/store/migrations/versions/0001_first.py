# SPDX-License-Identifier: MIT
"""The first format of the store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "build",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("guest", sa.Text(), nullable=False),
        sa.Column("guest_build", sa.Text(), nullable=False),
        sa.Column("qemu_build", sa.Text(), nullable=False),
        sa.Column("driver_digest", sa.Text(), nullable=False),
        sa.UniqueConstraint("guest", "guest_build", "qemu_build", "driver_digest"),
    )
    op.create_table(
        "host",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
    )
    op.create_table(
        "incident",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("signature", sa.String(length=16), nullable=False, unique=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("failure_class", sa.String(length=40), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=40), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.create_table(
        "point",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
        sa.Column("guest", sa.Text(), nullable=False),
        sa.Column("qemu", sa.Text(), nullable=False),
        sa.Column("topology", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
    )
    op.create_table(
        "rule",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
        sa.Column("level", sa.Text(), nullable=False),
    )
    op.create_table(
        "nightly",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("lab", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("cells", sa.Integer(), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("host_id", sa.Integer(), sa.ForeignKey("host.id"), nullable=False),
        sa.UniqueConstraint("lab", "name", "at"),
    )
    op.create_index("ix_nightly_time", "nightly", ["at"], unique=False)
    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("nightly_id", sa.Integer(), sa.ForeignKey("nightly.id"), nullable=True),
        sa.Column("point_id", sa.Integer(), sa.ForeignKey("point.id"), nullable=False),
        sa.Column("build_id", sa.Integer(), sa.ForeignKey("build.id"), nullable=False),
        sa.Column("host_id", sa.Integer(), sa.ForeignKey("host.id"), nullable=False),
        sa.Column("repetition", sa.Integer(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("word", sa.String(length=16), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("failure_class", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("harness", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("retry_of", sa.Text(), nullable=False),
        sa.Column("holds", sa.Integer(), nullable=False),
        sa.Column("violated", sa.Integer(), nullable=False),
        sa.Column("unknown", sa.Integer(), nullable=False),
        sa.Column("not_applicable", sa.Integer(), nullable=False),
    )
    op.create_index("ix_run_nightly", "run", ["nightly_id"], unique=False)
    op.create_index("ix_run_point", "run", ["point_id", "at"], unique=False)
    op.create_index("ix_run_retry", "run", ["retry_of"], unique=False)
    op.create_index("ix_run_time", "run", ["at"], unique=False)
    op.create_table(
        "artifact",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "failure",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("incident_id", sa.Integer(), sa.ForeignKey("incident.id"), primary_key=True),
        sa.Column("nightly_id", sa.Integer(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_failure_incident", "failure", ["incident_id", "at"], unique=False)
    op.create_index("ix_failure_nightly", "failure", ["nightly_id", "incident_id"], unique=False)
    op.create_index("ix_failure_time", "failure", ["at"], unique=False)
    op.create_table(
        "observation",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), primary_key=True),
        sa.Column("times", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rule_verdict",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("rule_id", sa.Integer(), sa.ForeignKey("rule.id"), primary_key=True),
        sa.Column("build_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("exercised", sa.Integer(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_rule_build", "rule_verdict", ["rule_id", "build_id", "verdict", "at"], unique=False)
    op.create_index("ix_rule_time", "rule_verdict", ["rule_id", "at", "exercised"], unique=False)
    op.create_table(
        "timing",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("what", sa.String(length=40), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("ms", sa.Float(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_timing", "timing", ["what", "host_id", "at", "ms"], unique=False)
    op.bulk_insert(
        sa.table("meta", sa.column("key", sa.Text), sa.column("value", sa.Text)),
        [{"key": "program", "value": "hotplug-harness"}, {"key": "format", "value": "1"}],
    )


def downgrade() -> None:
    """Remove the tables."""
    for table in (
        "timing",
        "rule_verdict",
        "observation",
        "failure",
        "artifact",
        "run",
        "nightly",
        "rule",
        "point",
        "meta",
        "incident",
        "host",
        "build",
    ):
        op.drop_table(table)
