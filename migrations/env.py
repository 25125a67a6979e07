"""Runs migrations on the connection that `worker.store.migrate` hands over, inside its transaction.

There is no alembic.ini: the caller has the URL, the lock and the transaction, and logging is the program's own matter.
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
