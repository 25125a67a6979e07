"""The latest event of each object in a storage, and how far sweeps have come."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE susy.object_sequencers (
    object bytea NOT NULL,
    sequencer text NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_object_sequencers PRIMARY KEY (object),
    CONSTRAINT ck_object_sequencers_object CHECK (octet_length(object) = 32),
    CONSTRAINT ck_object_sequencers_sequencer CHECK (sequencer ~ '^[0-9A-F]{1,64}$')
);
CREATE INDEX ix_object_sequencers_seen_at ON susy.object_sequencers (seen_at);
CREATE TABLE susy.sweeps (
    location text NOT NULL,
    after_key text,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT pk_sweeps PRIMARY KEY (location),
    CONSTRAINT ck_sweeps_finished_has_no_key CHECK (finished_at IS NULL OR after_key IS NULL)
);
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(UPGRADE, execution_options={"no_parameters": True})


def downgrade() -> None:
    op.get_bind().exec_driver_sql("DROP TABLE susy.object_sequencers, susy.sweeps")
