"""Runs migrations on the connection of `worker.store.migrate`, inside its transaction.

There is no alembic.ini: the caller has the URL, the lock and the transaction, and the program configures logging.
"""

from __future__ import annotations

from alembic import context

from schema.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
)
with context.begin_transaction():
    context.run_migrations()
