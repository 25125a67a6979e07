-- What live verdicts decided, counted per day: the sums, and the changes that are not in them yet. Verdicts only add
-- changes, so that no transaction waits for another one's sum; the reconciler folds them. Deleting old verdicts leaves
-- the counts as they are.
CREATE TABLE susy.decision_counts (
    day date NOT NULL,
    source text NOT NULL,
    policy_name text NOT NULL,
    is_demo boolean NOT NULL,
    decision text NOT NULL,
    generator text NOT NULL,
    checks bigint NOT NULL,
    needs_review bigint NOT NULL,
    CONSTRAINT pk_decision_counts PRIMARY KEY (day, source, policy_name, is_demo, decision, generator)
);
CREATE TABLE susy.decision_changes (
    id bigint GENERATED ALWAYS AS IDENTITY,
    day date NOT NULL,
    source text NOT NULL,
    policy_name text NOT NULL,
    is_demo boolean NOT NULL,
    decision text NOT NULL,
    generator text NOT NULL,
    checks bigint NOT NULL,
    needs_review bigint NOT NULL,
    CONSTRAINT pk_decision_changes PRIMARY KEY (id)
);
ALTER TABLE susy.decision_changes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE FUNCTION susy.count_new_decisions() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.decision_changes (day, source, policy_name, is_demo, decision, generator, checks, needs_review)
    SELECT
        (c.created_at AT TIME ZONE 'UTC')::date, c.source, v.policy_name, s.is_demo, v.decision,
        coalesce(v.generator, ''), count(*), count(*) FILTER (WHERE v.needs_review)
    FROM added AS v JOIN susy.checks AS c ON c.id = v.check_id JOIN susy.scans AS s ON s.id = v.scan_id
    WHERE v.mode = 'live'
    GROUP BY 1, 2, 3, 4, 5, 6;
    RETURN NULL;
END
$$;
CREATE FUNCTION susy.count_changed_decisions() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.decision_changes (day, source, policy_name, is_demo, decision, generator, checks, needs_review)
    SELECT
        (c.created_at AT TIME ZONE 'UTC')::date, c.source, v.policy_name, s.is_demo, v.decision,
        coalesce(v.generator, ''), sum(v.sign), coalesce(sum(v.sign) FILTER (WHERE v.needs_review), 0)
    FROM (
        SELECT check_id, scan_id, policy_name, decision, generator, needs_review, 1 AS sign FROM after WHERE mode = 'live'
        UNION ALL
        SELECT check_id, scan_id, policy_name, decision, generator, needs_review, -1 FROM before WHERE mode = 'live'
    ) AS v JOIN susy.checks AS c ON c.id = v.check_id JOIN susy.scans AS s ON s.id = v.scan_id
    GROUP BY 1, 2, 3, 4, 5, 6
    HAVING sum(v.sign) <> 0 OR coalesce(sum(v.sign) FILTER (WHERE v.needs_review), 0) <> 0;
    RETURN NULL;
END
$$;
CREATE TRIGGER verdicts_count_new AFTER INSERT ON susy.verdicts REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION susy.count_new_decisions();
CREATE TRIGGER verdicts_count_changed AFTER UPDATE ON susy.verdicts REFERENCING OLD TABLE AS before NEW TABLE AS after
FOR EACH STATEMENT EXECUTE FUNCTION susy.count_changed_decisions();

INSERT INTO susy.decision_counts (day, source, policy_name, is_demo, decision, generator, checks, needs_review)
SELECT
    (c.created_at AT TIME ZONE 'UTC')::date, c.source, v.policy_name, s.is_demo, v.decision,
    coalesce(v.generator, ''), count(*), count(*) FILTER (WHERE v.needs_review)
FROM susy.verdicts AS v JOIN susy.checks AS c ON c.id = v.check_id JOIN susy.scans AS s ON s.id = v.scan_id
WHERE v.mode = 'live'
GROUP BY 1, 2, 3, 4, 5, 6;

-- What operators did, beside policies and reviews, which have tables of their own. Rows are only added.
CREATE TABLE susy.operations (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    kind text NOT NULL,
    actor text DEFAULT SESSION_USER NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    reason text,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT pk_operations PRIMARY KEY (id),
    CONSTRAINT ck_operations_explained CHECK (kind <> '' AND actor <> '' AND action <> ''),
    CONSTRAINT ck_operations_details CHECK (jsonb_typeof(details) = 'object')
);
CREATE INDEX ix_operations_at ON susy.operations (at);
CREATE INDEX ix_reviews_created_at ON susy.reviews (created_at);
CREATE TRIGGER operations_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.operations
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

CREATE FUNCTION susy.note_key() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.operations (kind, action, subject, details) VALUES (
        'key', CASE TG_OP WHEN 'INSERT' THEN 'create' ELSE 'revoke' END, NEW.name,
        jsonb_build_object('id', NEW.id, 'scopes', NEW.scopes, 'sources', NEW.sources, 'expires_at', NEW.expires_at)
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER api_keys_note_new AFTER INSERT ON susy.api_keys FOR EACH ROW EXECUTE FUNCTION susy.note_key();
CREATE TRIGGER api_keys_note_revoked AFTER UPDATE OF revoked_at ON susy.api_keys
FOR EACH ROW WHEN (NEW.revoked_at IS NOT NULL AND OLD.revoked_at IS NULL) EXECUTE FUNCTION susy.note_key();

CREATE FUNCTION susy.note_endpoint() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.operations (kind, action, subject, reason, details) VALUES (
        'endpoint',
        CASE WHEN TG_OP = 'INSERT' THEN 'add' WHEN NEW.disabled_at IS NULL THEN 'enable' ELSE 'disable' END,
        NEW.name, NEW.disabled_reason,
        jsonb_build_object(
            'url', split_part(NEW.url, '?', 1), 'sources', NEW.sources, 'allow_private', NEW.allow_private
        )
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER endpoints_note_new AFTER INSERT ON susy.endpoints FOR EACH ROW EXECUTE FUNCTION susy.note_endpoint();
CREATE TRIGGER endpoints_note_disabled AFTER UPDATE OF disabled_at ON susy.endpoints
FOR EACH ROW WHEN ((NEW.disabled_at IS NULL) <> (OLD.disabled_at IS NULL)) EXECUTE FUNCTION susy.note_endpoint();

-- The key that comes with an endpoint is not a rotation.
CREATE FUNCTION susy.note_endpoint_key() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.operations (kind, action, subject, details)
    SELECT 'endpoint', 'rotate', e.name, jsonb_build_object('signature', NEW.kind)
    FROM susy.endpoints AS e
    WHERE e.id = NEW.endpoint_id AND EXISTS (
        SELECT FROM susy.endpoint_keys AS k WHERE k.endpoint_id = e.id AND k.id < NEW.id
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER endpoint_keys_note_rotated AFTER INSERT ON susy.endpoint_keys
FOR EACH ROW EXECUTE FUNCTION susy.note_endpoint_key();

CREATE FUNCTION susy.note_lane() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.operations (kind, action, subject) VALUES (
        'lane', CASE TG_OP WHEN 'INSERT' THEN 'pause' ELSE 'resume' END,
        CASE TG_OP WHEN 'INSERT' THEN NEW.lane ELSE OLD.lane END
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER paused_lanes_note AFTER INSERT OR DELETE ON susy.paused_lanes
FOR EACH ROW EXECUTE FUNCTION susy.note_lane();

-- Finds the newest quarantined checks, and those of a minute.
CREATE INDEX ix_checks_quarantined_at ON susy.checks (finished_at) WHERE state = 'quarantined';

CREATE FUNCTION dashboard.version() RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 1;

COMMENT ON FUNCTION dashboard.version IS 'Version of this contract. It increases when a column or a function is removed or renamed, or changes its type or its meaning; columns may be added at the end of a view without a new version.';

CREATE VIEW dashboard.verdicts AS
SELECT
    v.id,
    v.check_id,
    c.source,
    v.mode,
    v.created_at AS decided_at,
    v.decision,
    v.score,
    v.class_scores,
    v.generator,
    v.generator_confidence,
    v.reasons,
    v.needs_review,
    v.regions,
    v.policy_name AS policy,
    v.policy_version,
    s.model_name AS model,
    s.weights_sha256 AS model_sha256,
    s.is_demo,
    v.audit_rate,
    v.superseded_at,
    v.application_id AS application
FROM susy.verdicts AS v
JOIN susy.checks AS c ON c.id = v.check_id
JOIN susy.scans AS s ON s.id = v.scan_id;

COMMENT ON VIEW dashboard.verdicts IS 'Every verdict of every check: the live one, those of policies in shadow, and those that a later decision replaced. Select by check_id, which has an index.';
COMMENT ON COLUMN dashboard.verdicts.id IS 'The verdict.';
COMMENT ON COLUMN dashboard.verdicts.check_id IS 'The check.';
COMMENT ON COLUMN dashboard.verdicts.source IS 'The surface or service that submitted the check.';
COMMENT ON COLUMN dashboard.verdicts.mode IS 'live: it decides; shadow: it has no effect; superseded: another one replaced it.';
COMMENT ON COLUMN dashboard.verdicts.decided_at IS 'When it was recorded.';
COMMENT ON COLUMN dashboard.verdicts.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.verdicts.score IS 'Probability that the image is synthetic, 0 to 1; null when no tile could be scored.';
COMMENT ON COLUMN dashboard.verdicts.class_scores IS 'Probability of each class, 0 to 1, as an object of name to number.';
COMMENT ON COLUMN dashboard.verdicts.generator IS 'The most probable generator when one leads clearly, otherwise unknown_generator; null when authentic or not scored.';
COMMENT ON COLUMN dashboard.verdicts.generator_confidence IS 'Share of the synthetic probability that its most probable generator holds, 0 to 1; null without a generator.';
COMMENT ON COLUMN dashboard.verdicts.reasons IS 'The reasons for the decision, as words.';
COMMENT ON COLUMN dashboard.verdicts.needs_review IS 'Whether the policy asks for a review.';
COMMENT ON COLUMN dashboard.verdicts.regions IS 'Rectangles that look synthetic: an array of {x, y, width, height, score} in pixels.';
COMMENT ON COLUMN dashboard.verdicts.policy IS 'Name of the policy that decided.';
COMMENT ON COLUMN dashboard.verdicts.policy_version IS 'Version of the policy that decided.';
COMMENT ON COLUMN dashboard.verdicts.model IS 'Name of the detector.';
COMMENT ON COLUMN dashboard.verdicts.model_sha256 IS 'Digest of the detector''s weights.';
COMMENT ON COLUMN dashboard.verdicts.is_demo IS 'True when scored by the demonstration weights, which must not be used for decisions.';
COMMENT ON COLUMN dashboard.verdicts.audit_rate IS 'Probability with which the content was drawn for an audit, above 0 and up to 1; null when it was not drawn.';
COMMENT ON COLUMN dashboard.verdicts.superseded_at IS 'When another verdict replaced it; null unless superseded.';
COMMENT ON COLUMN dashboard.verdicts.application IS 'The `susy policy apply` that recorded it, as dashboard.policy_applications.id; null for a verdict of a worker.';

CREATE VIEW dashboard.throughput_by_minute AS
SELECT
    m.minute,
    l.lane,
    (
        SELECT count(*) FROM susy.checks AS c
        WHERE c.created_at >= m.minute AND c.created_at < m.minute + interval '1 minute' AND c.lane = l.lane
    ) AS accepted,
    (
        SELECT count(*) FROM susy.checks AS c
        WHERE c.state = 'done' AND c.lane = l.lane
            AND c.finished_at >= m.minute AND c.finished_at < m.minute + interval '1 minute'
    ) AS done,
    (
        SELECT count(*) FROM susy.checks AS c
        WHERE c.state = 'quarantined' AND c.lane = l.lane
            AND c.finished_at >= m.minute AND c.finished_at < m.minute + interval '1 minute'
    ) AS quarantined,
    (
        SELECT count(*) FROM susy.checks AS c
        WHERE c.state = 'cancelled' AND c.lane = l.lane
            AND c.finished_at >= m.minute AND c.finished_at < m.minute + interval '1 minute'
    ) AS cancelled,
    (
        SELECT count(*) FROM susy.checks AS c
        WHERE c.state = 'expired' AND c.lane = l.lane
            AND c.finished_at >= m.minute AND c.finished_at < m.minute + interval '1 minute'
    ) AS expired
FROM generate_series(
    date_trunc('minute', now()) - interval '1439 minutes', date_trunc('minute', now()), interval '1 minute'
) AS m (minute)
CROSS JOIN (VALUES ('live'), ('backfill')) AS l (lane);

COMMENT ON VIEW dashboard.throughput_by_minute IS 'What was accepted and what ended, for each of the last 1440 minutes and each lane. Only the minutes that a query asks for are counted.';
COMMENT ON COLUMN dashboard.throughput_by_minute.minute IS 'When the minute begins; the latest one is not over yet.';
COMMENT ON COLUMN dashboard.throughput_by_minute.lane IS 'live or backfill.';
COMMENT ON COLUMN dashboard.throughput_by_minute.accepted IS 'Checks that were accepted in this minute.';
COMMENT ON COLUMN dashboard.throughput_by_minute.done IS 'Checks that got their verdict in this minute.';
COMMENT ON COLUMN dashboard.throughput_by_minute.quarantined IS 'Checks that were quarantined in this minute and still are.';
COMMENT ON COLUMN dashboard.throughput_by_minute.cancelled IS 'Checks that were cancelled in this minute and still are.';
COMMENT ON COLUMN dashboard.throughput_by_minute.expired IS 'Checks that expired in this minute and still are.';

CREATE VIEW dashboard.decisions_by_source_day AS
SELECT
    day,
    source,
    policy_name AS policy,
    is_demo,
    decision,
    sum(checks)::bigint AS checks,
    sum(needs_review)::bigint AS needs_review
FROM (
    SELECT day, source, policy_name, is_demo, decision, checks, needs_review FROM susy.decision_counts
    UNION ALL
    SELECT day, source, policy_name, is_demo, decision, checks, needs_review FROM susy.decision_changes
) AS counted
GROUP BY day, source, policy_name, is_demo, decision
HAVING sum(checks) <> 0;

COMMENT ON VIEW dashboard.decisions_by_source_day IS 'How many checks of each day have which live verdict. Reviews do not change it, a later decision does; checks that were pruned stay counted.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.day IS 'The day, in UTC, on which the checks were accepted.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.source IS 'The surface or service that submitted them.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.policy IS 'Name of the policy that decided.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.is_demo IS 'True when scored by the demonstration weights, which must not be used for decisions.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.checks IS 'Number of checks.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.needs_review IS 'How many of them the policy asked a person to review.';

CREATE VIEW dashboard.generators_by_day AS
SELECT
    day,
    source,
    is_demo,
    generator,
    sum(checks)::bigint AS checks,
    coalesce(sum(checks) FILTER (WHERE decision = 'synthetic'), 0)::bigint AS synthetic
FROM (
    SELECT day, source, is_demo, decision, generator, checks FROM susy.decision_counts
    UNION ALL
    SELECT day, source, is_demo, decision, generator, checks FROM susy.decision_changes
) AS counted
WHERE generator <> ''
GROUP BY day, source, is_demo, generator
HAVING sum(checks) <> 0;

COMMENT ON VIEW dashboard.generators_by_day IS 'How many checks of each day the live verdict attributes to which generator; checks without one are not in it, and checks that were pruned stay counted.';
COMMENT ON COLUMN dashboard.generators_by_day.day IS 'The day, in UTC, on which the checks were accepted.';
COMMENT ON COLUMN dashboard.generators_by_day.source IS 'The surface or service that submitted them.';
COMMENT ON COLUMN dashboard.generators_by_day.is_demo IS 'True when scored by the demonstration weights, which must not be used for decisions.';
COMMENT ON COLUMN dashboard.generators_by_day.generator IS 'Name of the generator, or unknown_generator.';
COMMENT ON COLUMN dashboard.generators_by_day.checks IS 'Number of checks, whatever was decided about them.';
COMMENT ON COLUMN dashboard.generators_by_day.synthetic IS 'How many of them were decided to be synthetic.';

CREATE VIEW dashboard.audit_log AS
SELECT
    changed_at AS at,
    'policy'::text AS kind,
    changed_by AS actor,
    change AS action,
    'revision ' || revision AS subject,
    reason,
    jsonb_build_object('revision', revision) AS details
FROM susy.policy_revisions
UNION ALL
SELECT created_at, 'review', reviewer, decision, check_id::text, note, '{}'::jsonb FROM susy.reviews
UNION ALL
SELECT
    started_at, 'policy', applied_by, 'apply ' || policy_name || '@' || policy_version, 'application ' || id, reason,
    jsonb_build_object('filter', filter, 'replaced', replaced, 'changed', changed)
FROM susy.policy_applications
UNION ALL
SELECT at, kind, actor, action, subject, reason, details FROM susy.operations;

COMMENT ON VIEW dashboard.audit_log IS 'What people changed: policies, reviews, API keys, endpoints, paused lanes, checks that operators queued again or cancelled, and what was pruned. Rows are only added.';
COMMENT ON COLUMN dashboard.audit_log.at IS 'When.';
COMMENT ON COLUMN dashboard.audit_log.kind IS 'policy, review, key, endpoint, lane, checks or prune.';
COMMENT ON COLUMN dashboard.audit_log.actor IS 'Who: for policies and reviews the name that was given, otherwise the database''s login, which is all that it knows.';
COMMENT ON COLUMN dashboard.audit_log.action IS 'What was done: the change or the application of a policy, the decision of the review, or create, revoke, add, disable, enable, rotate, pause, resume, retry, cancel, prune.';
COMMENT ON COLUMN dashboard.audit_log.subject IS 'To what: a revision, an application of a policy, a check, the name of a key, an endpoint or a lane, or the number of checks.';
COMMENT ON COLUMN dashboard.audit_log.reason IS 'Why, where it was said: the reason of a policy change, the note of a review, why an endpoint was disabled.';
COMMENT ON COLUMN dashboard.audit_log.details IS 'More about it, as an object. Secrets are never part of it.';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_dashboard') THEN
        GRANT USAGE ON SCHEMA dashboard TO susy_dashboard;
        GRANT SELECT ON ALL TABLES IN SCHEMA dashboard TO susy_dashboard;
    END IF;
END
$$;
