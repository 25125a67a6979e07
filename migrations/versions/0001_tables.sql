-- The ledger's first tables.

CREATE TABLE susy.checks (
    id UUID NOT NULL,
    source TEXT NOT NULL,
    external_id TEXT NOT NULL,
    uri TEXT NOT NULL,
    lane TEXT NOT NULL,
    policy TEXT,
    attributes JSONB DEFAULT '{}'::jsonb NOT NULL,
    state TEXT DEFAULT 'queued' NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    next_attempt_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    dispatched_at TIMESTAMP WITH TIME ZONE,
    lease_token UUID,
    lease_until TIMESTAMP WITH TIME ZONE,
    worker TEXT,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    error_code TEXT,
    error_message TEXT,
    content_sha256 TEXT,
    CONSTRAINT pk_checks PRIMARY KEY (id),
    CONSTRAINT uq_checks_source_external_id UNIQUE (source, external_id),
    CONSTRAINT ck_checks_state CHECK (state IN ('queued', 'running', 'done', 'quarantined', 'cancelled')),
    CONSTRAINT ck_checks_lane CHECK (lane IN ('live', 'backfill')),
    CONSTRAINT ck_checks_content_sha256 CHECK (content_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_checks_named CHECK (source <> '' AND external_id <> '' AND uri <> ''),
    CONSTRAINT ck_checks_attributes CHECK (jsonb_typeof(attributes) = 'object'),
    CONSTRAINT ck_checks_attempts CHECK (attempts >= 0),
    CONSTRAINT ck_checks_running_has_token CHECK ((state = 'running') = (lease_token IS NOT NULL)),
    CONSTRAINT ck_checks_running_has_lease CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CONSTRAINT ck_checks_running_has_worker CHECK (state <> 'running' OR (worker IS NOT NULL AND started_at IS NOT NULL AND attempts > 0)),
    CONSTRAINT ck_checks_finished_has_time CHECK ((state IN ('done', 'quarantined', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT ck_checks_quarantined_has_code CHECK (state <> 'quarantined' OR error_code IS NOT NULL),
    CONSTRAINT ck_checks_done_has_content CHECK (state <> 'done' OR content_sha256 IS NOT NULL),
    CONSTRAINT ck_checks_message_has_code CHECK (error_message IS NULL OR error_code IS NOT NULL)
);
CREATE INDEX ix_checks_created_at ON susy.checks (created_at);
CREATE INDEX ix_checks_due ON susy.checks (lane, coalesce(dispatched_at, '-infinity'::timestamptz), next_attempt_at) WHERE state = 'queued';
CREATE INDEX ix_checks_quarantined ON susy.checks (error_code, finished_at) WHERE state = 'quarantined';
CREATE INDEX ix_checks_retrying ON susy.checks (attempts) WHERE state = 'queued' AND attempts > 0;
CREATE INDEX ix_checks_running ON susy.checks (lane, created_at) WHERE state = 'running';

CREATE TABLE susy.scans (
    id UUID NOT NULL,
    content_sha256 TEXT NOT NULL,
    weights_sha256 TEXT NOT NULL,
    tiling TEXT NOT NULL,
    model_name TEXT NOT NULL,
    classes TEXT[] NOT NULL,
    is_demo BOOLEAN NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    format TEXT NOT NULL,
    tiles_total INTEGER NOT NULL,
    tiles_scored INTEGER NOT NULL,
    corners BYTEA NOT NULL,
    contrast BYTEA NOT NULL,
    selected BYTEA NOT NULL,
    scored BYTEA NOT NULL,
    probabilities BYTEA NOT NULL,
    map_png BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_scans PRIMARY KEY (id),
    CONSTRAINT uq_scans_content_sha256_weights_sha256_tiling UNIQUE (content_sha256, weights_sha256, tiling),
    CONSTRAINT ck_scans_content_sha256 CHECK (content_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_scans_weights_sha256 CHECK (weights_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_scans_tiling CHECK (tiling ~ '^[a-z]+-[0-9]+$'),
    CONSTRAINT ck_scans_size CHECK (width > 0 AND height > 0),
    CONSTRAINT ck_scans_classes CHECK (cardinality(classes) > 0),
    CONSTRAINT ck_scans_tiles CHECK (tiles_scored BETWEEN 0 AND tiles_total),
    CONSTRAINT ck_scans_corners CHECK (octet_length(corners) = 8 * tiles_total),
    CONSTRAINT ck_scans_contrast CHECK (octet_length(contrast) = 4 * tiles_total),
    CONSTRAINT ck_scans_selected CHECK (octet_length(selected) = tiles_total),
    CONSTRAINT ck_scans_scored CHECK (octet_length(scored) = tiles_total),
    CONSTRAINT ck_scans_probabilities CHECK (octet_length(probabilities) = 2 * tiles_total * cardinality(classes))
);

CREATE TABLE susy.policies (
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    document JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_policies PRIMARY KEY (name, version),
    CONSTRAINT ck_policies_named CHECK (name <> '' AND version <> ''),
    CONSTRAINT ck_policies_document CHECK (jsonb_typeof(document) = 'object')
);

CREATE TABLE susy.verdicts (
    id UUID NOT NULL,
    check_id UUID NOT NULL,
    scan_id UUID NOT NULL,
    policy_name TEXT NOT NULL,
    policy_version TEXT NOT NULL,
    mode TEXT NOT NULL,
    decision TEXT NOT NULL,
    score DOUBLE PRECISION,
    class_scores JSONB NOT NULL,
    generator TEXT,
    reasons TEXT[] NOT NULL,
    needs_review BOOLEAN NOT NULL,
    regions JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    reviewed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_verdicts PRIMARY KEY (id),
    CONSTRAINT uq_verdicts_check_id_policy_name_policy_version UNIQUE (check_id, policy_name, policy_version),
    CONSTRAINT fk_verdicts_policy_name_policy_version FOREIGN KEY(policy_name, policy_version) REFERENCES susy.policies (name, version),
    CONSTRAINT ck_verdicts_mode CHECK (mode IN ('live', 'shadow')),
    CONSTRAINT ck_verdicts_decision CHECK (decision IN ('authentic', 'synthetic', 'inconclusive')),
    CONSTRAINT ck_verdicts_score CHECK (score BETWEEN 0 AND 1),
    CONSTRAINT ck_verdicts_class_scores CHECK (jsonb_typeof(class_scores) = 'object'),
    CONSTRAINT ck_verdicts_regions CHECK (jsonb_typeof(regions) = 'array'),
    CONSTRAINT fk_verdicts_check_id FOREIGN KEY(check_id) REFERENCES susy.checks (id),
    CONSTRAINT fk_verdicts_scan_id FOREIGN KEY(scan_id) REFERENCES susy.scans (id)
);
CREATE INDEX ix_verdicts_scan_id ON susy.verdicts (scan_id);
CREATE INDEX ix_verdicts_to_review ON susy.verdicts (created_at) WHERE mode = 'live' AND needs_review AND reviewed_at IS NULL;
CREATE UNIQUE INDEX uq_verdicts_live ON susy.verdicts (check_id) WHERE mode = 'live';

CREATE TABLE susy.reviews (
    id UUID NOT NULL,
    check_id UUID NOT NULL,
    reviewer TEXT NOT NULL,
    decision TEXT NOT NULL,
    note TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_reviews PRIMARY KEY (id),
    CONSTRAINT ck_reviews_decision CHECK (decision IN ('authentic', 'synthetic', 'inconclusive')),
    CONSTRAINT ck_reviews_reviewer CHECK (reviewer <> ''),
    CONSTRAINT fk_reviews_check_id FOREIGN KEY(check_id) REFERENCES susy.checks (id)
);
CREATE INDEX ix_reviews_check_id ON susy.reviews (check_id);

CREATE TABLE susy.rejected_messages (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    task TEXT NOT NULL,
    body TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    CONSTRAINT pk_rejected_messages PRIMARY KEY (id),
    CONSTRAINT ck_rejected_messages_body CHECK (octet_length(body) <= 4096)
);
CREATE INDEX ix_rejected_messages_received_at ON susy.rejected_messages (received_at);

ALTER TABLE susy.checks SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

ALTER TABLE susy.scans ALTER COLUMN map_png SET STORAGE EXTERNAL;

CREATE FUNCTION susy.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'susy.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER policies_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.policies
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

CREATE TRIGGER reviews_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.reviews
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

CREATE FUNCTION susy.mark_reviewed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE susy.verdicts SET reviewed_at = NEW.created_at
    WHERE check_id = NEW.check_id AND reviewed_at IS NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER reviews_mark_reviewed AFTER INSERT ON susy.reviews
FOR EACH ROW EXECUTE FUNCTION susy.mark_reviewed();
