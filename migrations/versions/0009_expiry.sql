ALTER TABLE susy.checks
    ADD COLUMN expires_at timestamp with time zone,
    DROP CONSTRAINT ck_checks_state,
    ADD CONSTRAINT ck_checks_state
        CHECK (state IN ('queued', 'running', 'done', 'quarantined', 'cancelled', 'expired')),
    DROP CONSTRAINT ck_checks_finished_has_time,
    ADD CONSTRAINT ck_checks_finished_has_time
        CHECK ((state IN ('done', 'quarantined', 'cancelled', 'expired')) = (finished_at IS NOT NULL)),
    ADD CONSTRAINT ck_checks_expired_has_deadline CHECK (state <> 'expired' OR expires_at IS NOT NULL);
CREATE INDEX ix_checks_expiring ON susy.checks (expires_at) WHERE state = 'queued' AND expires_at IS NOT NULL;
CREATE INDEX ix_checks_expired ON susy.checks (lane, finished_at) WHERE state = 'expired';

-- Replacing a view keeps its grants and its comments.
CREATE OR REPLACE VIEW dashboard.checks AS
SELECT
    c.id,
    c.source,
    c.external_id,
    c.uri,
    c.lane,
    c.state,
    c.attempts,
    c.created_at,
    c.started_at,
    c.finished_at,
    v.decision,
    v.score,
    v.class_scores,
    v.generator,
    v.reasons,
    v.needs_review,
    v.regions,
    coalesce(v.policy_name, c.policy) AS policy,
    v.policy_version,
    s.model_name AS model,
    s.weights_sha256 AS model_sha256,
    s.is_demo,
    s.width,
    s.height,
    s.tiles_total,
    s.tiles_scored,
    c.content_sha256,
    c.attributes,
    c.error_code,
    c.error_message,
    (
        SELECT r.decision FROM susy.reviews AS r
        WHERE r.check_id = c.id ORDER BY r.created_at DESC, r.id DESC LIMIT 1
    ) AS review_decision,
    v.generator_confidence,
    s.map_sampled,
    s.precision,
    c.expires_at
FROM susy.checks AS c
LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
LEFT JOIN susy.scans AS s ON s.id = v.scan_id;

CREATE OR REPLACE VIEW dashboard.backlog AS
SELECT
    lanes.lane,
    coalesce(waiting.queued, 0) AS queued,
    coalesce(waiting.due, 0) AS due,
    coalesce(held.running, 0) AS running,
    extract(epoch FROM now() - waiting.oldest_due)::double precision AS oldest_age_seconds,
    paused.paused_at,
    (SELECT count(*) FROM susy.checks WHERE state = 'expired' AND lane = lanes.lane) AS expired
FROM (VALUES ('live'), ('backfill')) AS lanes (lane)
LEFT JOIN (
    SELECT
        lane,
        count(*) AS queued,
        count(*) FILTER (WHERE next_attempt_at <= now()) AS due,
        min(next_attempt_at) FILTER (WHERE next_attempt_at <= now()) AS oldest_due
    FROM susy.checks WHERE state = 'queued' GROUP BY lane
) AS waiting ON waiting.lane = lanes.lane
LEFT JOIN (
    SELECT lane, count(*) AS running FROM susy.checks WHERE state = 'running' GROUP BY lane
) AS held ON held.lane = lanes.lane
LEFT JOIN susy.paused_lanes AS paused ON paused.lane = lanes.lane;

COMMENT ON COLUMN dashboard.checks.state IS 'queued, running, done, quarantined, cancelled or expired.';
COMMENT ON COLUMN dashboard.checks.finished_at IS 'When it became done, quarantined, cancelled or expired; null before.';
COMMENT ON COLUMN dashboard.checks.expires_at IS 'When the check expires unless a worker has begun it; null without a deadline.';
COMMENT ON COLUMN dashboard.backlog.expired IS 'Checks that have expired: no worker began them before their deadline.';
COMMENT ON COLUMN dashboard.callbacks.type IS 'What happened: image.verdict.created, image.check.quarantined, image.check.cancelled, image.check.expired or image.review.created.';
