# SPDX-License-Identifier: MIT
"""The time at which retention removed a run's directory."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column. No directory was removed before it existed."""
    op.add_column("run", sa.Column("removed", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE meta SET value = '2' WHERE key = 'format'")


def downgrade() -> None:
    """Remove the column."""
    with op.batch_alter_table("run") as table:
        table.drop_column("removed")
    op.execute("UPDATE meta SET value = '1' WHERE key = 'format'")
