# SPDX-License-Identifier: MIT
"""Runs the migrations on the connection that :class:`harness.store.database.Database` holds, in its transaction."""

from __future__ import annotations

from alembic import context

from harness.store.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
