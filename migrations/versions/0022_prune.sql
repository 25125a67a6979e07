-- Let `susy prune` delete what belongs to old checks.
CREATE OR REPLACE FUNCTION susy.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        -- `susy prune` deletes what belongs to old checks, and says so in `operations`.
        IF TG_OP = 'DELETE' AND current_setting('susy.pruning', true) = 'on'
            AND TG_TABLE_NAME NOT IN ('operations', 'policies', 'policy_revisions')
        THEN
            RETURN NULL;
        END IF;
        RAISE EXCEPTION 'susy.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END
    $$;
ALTER TABLE susy.reviews SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE susy.scans SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE susy.verdicts SET (autovacuum_vacuum_scale_factor = 0.02);

-- Each lane and kind of waiting checks has its index, which a condition on its lane uses and a GROUP BY does not.
CREATE OR REPLACE VIEW dashboard.backlog AS
SELECT
    'live'::text AS lane,
    waiting.queued + sent.queued AS queued,
    waiting.due + sent.due AS due,
    (SELECT count(*) FROM susy.checks WHERE state = 'running' AND lane = 'live') AS running,
    extract(epoch FROM now() - least(waiting.oldest_due, sent.oldest_due))::double precision AS oldest_age_seconds,
    (SELECT paused_at FROM susy.paused_lanes WHERE lane = 'live') AS paused_at,
    (SELECT count(*) FROM susy.checks WHERE state = 'expired' AND lane = 'live') AS expired
FROM (
    SELECT
        count(*) AS queued,
        count(*) FILTER (WHERE next_attempt_at <= now()) AS due,
        min(next_attempt_at) FILTER (WHERE next_attempt_at <= now()) AS oldest_due
    FROM susy.checks WHERE state = 'queued' AND dispatched_at IS NULL AND lane = 'live'
) AS waiting
CROSS JOIN (
    SELECT
        count(*) AS queued,
        count(*) FILTER (WHERE next_attempt_at <= now()) AS due,
        min(next_attempt_at) FILTER (WHERE next_attempt_at <= now()) AS oldest_due
    FROM susy.checks WHERE state = 'queued' AND dispatched_at IS NOT NULL AND lane = 'live'
) AS sent
UNION ALL
SELECT
    'backfill'::text AS lane,
    waiting.queued + sent.queued AS queued,
    waiting.due + sent.due AS due,
    (SELECT count(*) FROM susy.checks WHERE state = 'running' AND lane = 'backfill') AS running,
    extract(epoch FROM now() - least(waiting.oldest_due, sent.oldest_due))::double precision AS oldest_age_seconds,
    (SELECT paused_at FROM susy.paused_lanes WHERE lane = 'backfill') AS paused_at,
    (SELECT count(*) FROM susy.checks WHERE state = 'expired' AND lane = 'backfill') AS expired
FROM (
    SELECT
        count(*) AS queued,
        count(*) FILTER (WHERE next_attempt_at <= now()) AS due,
        min(next_attempt_at) FILTER (WHERE next_attempt_at <= now()) AS oldest_due
    FROM susy.checks WHERE state = 'queued' AND dispatched_at IS NULL AND lane = 'backfill'
) AS waiting
CROSS JOIN (
    SELECT
        count(*) AS queued,
        count(*) FILTER (WHERE next_attempt_at <= now()) AS due,
        min(next_attempt_at) FILTER (WHERE next_attempt_at <= now()) AS oldest_due
    FROM susy.checks WHERE state = 'queued' AND dispatched_at IS NOT NULL AND lane = 'backfill'
) AS sent;

-- Counts the checks of a minute without reading them.
DROP INDEX susy.ix_checks_created_at;
CREATE INDEX ix_checks_created_at ON susy.checks (created_at) INCLUDE (lane);

-- Finds the reviews of a day.
CREATE INDEX ix_reviews_day ON susy.reviews (CAST(timezone('UTC', created_at) AS date));

CREATE VIEW dashboard.policy_agreement AS
SELECT
    (r.created_at AT TIME ZONE 'UTC')::date AS day,
    v.policy_name AS policy,
    v.policy_version,
    v.decision,
    r.decision AS review_decision,
    count(*) AS checks
FROM susy.counted_reviews AS r
JOIN susy.verdicts AS v ON v.check_id = r.check_id AND v.mode = 'live'
GROUP BY 1, v.policy_name, v.policy_version, v.decision, r.decision;

COMMENT ON VIEW dashboard.policy_agreement IS 'How often people agree with the live verdict: of the checks that were reviewed, what both say. Only the review that counts is counted.';
COMMENT ON COLUMN dashboard.policy_agreement.day IS 'The day, in UTC, of the review.';
COMMENT ON COLUMN dashboard.policy_agreement.policy IS 'Name of the policy that decided.';
COMMENT ON COLUMN dashboard.policy_agreement.policy_version IS 'Its version.';
COMMENT ON COLUMN dashboard.policy_agreement.decision IS 'What it decided: authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.policy_agreement.review_decision IS 'What the person decided.';
COMMENT ON COLUMN dashboard.policy_agreement.checks IS 'Number of checks.';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_dashboard') THEN
        GRANT USAGE ON SCHEMA dashboard TO susy_dashboard;
        GRANT SELECT ON ALL TABLES IN SCHEMA dashboard TO susy_dashboard;
    END IF;
END
$$;
