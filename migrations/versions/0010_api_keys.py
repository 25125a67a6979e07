"""Keys of the HTTP service."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE susy.api_keys (
    id uuid NOT NULL,
    name text NOT NULL,
    digest bytea NOT NULL,
    scopes text[] NOT NULL,
    sources text[],
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT uq_api_keys_digest UNIQUE (digest),
    CONSTRAINT ck_api_keys_named CHECK (name <> ''),
    CONSTRAINT ck_api_keys_digest CHECK (octet_length(digest) = 32),
    CONSTRAINT ck_api_keys_scopes CHECK (
        cardinality(scopes) > 0 AND scopes <@ ARRAY['submit'::text, 'read'::text, 'review'::text, 'admin'::text]
    ),
    CONSTRAINT ck_api_keys_sources CHECK (cardinality(sources) > 0)
);
CREATE UNIQUE INDEX uq_api_keys_name ON susy.api_keys (name) WHERE revoked_at IS NULL;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(UPGRADE, execution_options={"no_parameters": True})


def downgrade() -> None:
    op.get_bind().exec_driver_sql("DROP TABLE susy.api_keys")
