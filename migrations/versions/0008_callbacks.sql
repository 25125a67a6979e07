-- Events of checks, the endpoints that they are sent to, and one row per event and endpoint.

CREATE SEQUENCE susy.event_positions;
CREATE TABLE susy.endpoints (
    id integer GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    url text NOT NULL,
    sources text[] DEFAULT '{}' NOT NULL,
    allow_private boolean DEFAULT false NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    disabled_at timestamptz,
    disabled_reason text,
    failures integer DEFAULT 0 NOT NULL,
    open_until timestamptz,
    CONSTRAINT pk_endpoints PRIMARY KEY (id),
    CONSTRAINT uq_endpoints_name UNIQUE (name),
    CONSTRAINT ck_endpoints_name CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,99}$'),
    CONSTRAINT ck_endpoints_url CHECK (url ~ '^https?://'),
    CONSTRAINT ck_endpoints_failures CHECK (failures >= 0),
    CONSTRAINT ck_endpoints_disabled_has_reason CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
);
CREATE TABLE susy.endpoint_keys (
    id integer GENERATED ALWAYS AS IDENTITY,
    endpoint_id integer NOT NULL,
    kind text NOT NULL,
    secret bytea NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    expires_at timestamptz,
    CONSTRAINT pk_endpoint_keys PRIMARY KEY (id),
    CONSTRAINT ck_endpoint_keys_kind CHECK (kind IN ('hmac', 'ed25519')),
    CONSTRAINT ck_endpoint_keys_secret CHECK (octet_length(secret) BETWEEN 24 AND 64),
    CONSTRAINT fk_endpoint_keys_endpoint_id FOREIGN KEY (endpoint_id) REFERENCES susy.endpoints (id) ON DELETE CASCADE
);
CREATE INDEX ix_endpoint_keys_endpoint_id ON susy.endpoint_keys (endpoint_id);
CREATE TABLE susy.events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    position bigint,
    check_id uuid NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL,
    finished_at timestamptz,
    error_code text,
    error_message text,
    verdict_id uuid,
    review_id uuid,
    data jsonb,
    CONSTRAINT pk_events PRIMARY KEY (id),
    CONSTRAINT ck_events_type CHECK (type ~ '^image\.[a-z]+\.[a-z]+$'),
    CONSTRAINT ck_events_position_has_data CHECK ((position IS NULL) = (data IS NULL)),
    CONSTRAINT fk_events_check_id FOREIGN KEY (check_id) REFERENCES susy.checks (id) ON DELETE CASCADE
);
CREATE INDEX ix_events_check_id ON susy.events (check_id);
CREATE UNIQUE INDEX ix_events_position ON susy.events (position) WHERE position IS NOT NULL;
CREATE INDEX ix_events_without_position ON susy.events (id) WHERE position IS NULL;
CREATE TABLE susy.deliveries (
    endpoint_id integer NOT NULL,
    event_id bigint NOT NULL,
    check_id uuid NOT NULL,
    state text DEFAULT 'pending' NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    next_attempt_at timestamptz DEFAULT now() NOT NULL,
    lease_token uuid,
    lease_until timestamptz,
    attempted_at timestamptz,
    finished_at timestamptz,
    status integer,
    error_code text,
    error_message text,
    CONSTRAINT pk_deliveries PRIMARY KEY (endpoint_id, event_id),
    CONSTRAINT ck_deliveries_state CHECK (state IN ('pending', 'delivered', 'failed', 'superseded')),
    CONSTRAINT ck_deliveries_attempts CHECK (attempts >= 0),
    CONSTRAINT ck_deliveries_lease_has_end CHECK ((lease_token IS NULL) = (lease_until IS NULL)),
    CONSTRAINT ck_deliveries_finished_has_no_lease CHECK (state = 'pending' OR lease_token IS NULL),
    CONSTRAINT ck_deliveries_finished_has_time CHECK ((state = 'pending') = (finished_at IS NULL)),
    CONSTRAINT ck_deliveries_failed_has_code CHECK (state <> 'failed' OR error_code IS NOT NULL),
    CONSTRAINT fk_deliveries_endpoint_id FOREIGN KEY (endpoint_id) REFERENCES susy.endpoints (id) ON DELETE CASCADE,
    CONSTRAINT fk_deliveries_event_id FOREIGN KEY (event_id) REFERENCES susy.events (id) ON DELETE CASCADE
);
CREATE INDEX ix_deliveries_check_id_endpoint_id_event_id ON susy.deliveries (check_id, endpoint_id, event_id);
CREATE INDEX ix_deliveries_event_id ON susy.deliveries (event_id);
CREATE INDEX ix_deliveries_failed ON susy.deliveries (endpoint_id) WHERE state = 'failed';
CREATE INDEX ix_deliveries_finished ON susy.deliveries (finished_at) WHERE state <> 'pending';
CREATE INDEX ix_deliveries_pending ON susy.deliveries (endpoint_id, next_attempt_at, event_id) WHERE state = 'pending';

ALTER TABLE susy.checks ADD COLUMN endpoint text;

-- A delivery is updated when it is claimed and when it ends; an event when it gets its position.
ALTER TABLE susy.deliveries SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE susy.events SET (autovacuum_vacuum_scale_factor = 0.02);

CREATE FUNCTION susy.add_check_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO susy.events (
        check_id, source, type, state, attempts, finished_at, error_code, error_message, verdict_id
    ) VALUES (
        NEW.id, NEW.source,
        CASE NEW.state WHEN 'done' THEN 'image.verdict.created' ELSE 'image.check.' || NEW.state END,
        NEW.state, NEW.attempts, NEW.finished_at, NEW.error_code, NEW.error_message,
        CASE NEW.state WHEN 'done' THEN OLD.lease_token END
    );
    RETURN NULL;
END
$$;

CREATE TRIGGER checks_add_event AFTER UPDATE OF state ON susy.checks
FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL AND NEW.state <> OLD.state)
EXECUTE FUNCTION susy.add_check_event();

CREATE FUNCTION susy.add_review_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO susy.events (
        check_id, source, type, state, attempts, finished_at, error_code, error_message, review_id
    )
    SELECT
        id, source, 'image.review.created', state, attempts, finished_at, error_code, error_message, NEW.id
    FROM susy.checks WHERE id = NEW.check_id AND finished_at IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER reviews_add_event AFTER INSERT ON susy.reviews
FOR EACH ROW EXECUTE FUNCTION susy.add_review_event();
