# SPDX-License-Identifier: MIT
"""The migrations make, on both databases, the tables that the models describe."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from harness.errors import UsageError
from harness.store import migrations
from harness.store.address import StoreAddress
from harness.store.database import Database
from harness.store.models import Base


def test_the_migrations_make_what_the_models_say(store: Database) -> None:
    """Alembic finds nothing to add; the tables are those of the models and its own."""
    with store.reading() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), Base.metadata)
        tables = set(inspect(connection).get_table_names())
    assert [[], set(Base.metadata.tables) | {"alembic_version"}] == [difference, tables]


def test_opening_again_changes_nothing(store: Database, address: StoreAddress) -> None:
    """A store of this form is left as it is."""
    with store.reading() as connection:
        before = sorted(connection.exec_driver_sql("SELECT version_num FROM alembic_version").all())
    with Database.open(address, make=True) as again, again.reading() as connection:
        assert before == sorted(connection.exec_driver_sql("SELECT version_num FROM alembic_version").all())


def test_the_migrations_are_one_line() -> None:
    """Each has one before it, and the last one is the only head."""
    (folder,) = migrations.__path__
    assert 1 == len(ScriptDirectory(folder).get_heads())


def test_a_store_of_the_first_form_is_brought_to_this_one(store: Database, address: StoreAddress) -> None:
    """What is in it stays; reading alone says how to do it."""
    with store.writing() as connection:
        connection.exec_driver_sql("INSERT INTO host (id, name) VALUES (7, 'here')")
        connection.exec_driver_sql("ALTER TABLE run DROP COLUMN removed")
        connection.exec_driver_sql("UPDATE meta SET value = '1' WHERE key = 'format'")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(UsageError, match="is a result store of an older harness"):
        Database.open(address)
    with Database.open(address, make=True) as again, again.reading() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), Base.metadata)
        names = list(connection.exec_driver_sql("SELECT name FROM host").scalars())
    assert [[], ["here"]] == [difference, names]
