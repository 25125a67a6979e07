ALTER TABLE susy.reviews ADD COLUMN content_sha256 text;
ALTER TABLE susy.reviews DISABLE TRIGGER reviews_append_only;
UPDATE susy.reviews AS r SET content_sha256 = c.content_sha256 FROM susy.checks AS c WHERE c.id = r.check_id;
ALTER TABLE susy.reviews
    ENABLE TRIGGER reviews_append_only,
    ADD CONSTRAINT ck_reviews_content_sha256 CHECK (content_sha256 ~ '^[0-9a-f]{64}$');
CREATE INDEX ix_reviews_content_sha256 ON susy.reviews (content_sha256, created_at) WHERE content_sha256 IS NOT NULL;

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
    c.expires_at,
    coalesce((
        SELECT r.decision FROM susy.reviews AS r
        WHERE r.check_id = c.id ORDER BY r.created_at DESC, r.id DESC LIMIT 1
    ), v.decision) AS final_decision,
    (
        SELECT r.decision FROM susy.reviews AS r
        WHERE r.content_sha256 = c.content_sha256 AND r.check_id <> c.id
        ORDER BY r.created_at DESC, r.id DESC LIMIT 1
    ) AS reviewed_before
FROM susy.checks AS c
LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
LEFT JOIN susy.scans AS s ON s.id = v.scan_id;

CREATE OR REPLACE VIEW dashboard.review_queue AS
SELECT
    c.id,
    c.source,
    c.external_id,
    c.uri,
    c.lane,
    c.created_at,
    v.created_at AS decided_at,
    v.decision,
    v.score,
    v.generator,
    v.reasons,
    v.regions,
    v.policy_name AS policy,
    v.policy_version,
    c.attributes,
    v.generator_confidence,
    (
        SELECT r.decision FROM susy.reviews AS r
        WHERE r.content_sha256 = c.content_sha256 AND r.check_id <> c.id
        ORDER BY r.created_at DESC, r.id DESC LIMIT 1
    ) AS reviewed_before
FROM susy.verdicts AS v
JOIN susy.checks AS c ON c.id = v.check_id
WHERE v.mode = 'live'
    AND v.needs_review
    AND v.reviewed_at IS NULL
    AND NOT EXISTS (SELECT FROM susy.reviews AS r WHERE r.check_id = v.check_id)
ORDER BY v.created_at;

COMMENT ON COLUMN dashboard.checks.final_decision IS 'The decision of the latest review, or without one that of the verdict; null when there is neither.';
COMMENT ON COLUMN dashboard.checks.reviewed_before IS 'The decision of the latest review of another check of the same content; null without one.';
COMMENT ON COLUMN dashboard.review_queue.reviewed_before IS 'The decision of the latest review of another check of the same content; null without one.';

CREATE FUNCTION dashboard.record_review(check_id uuid, decision text, reviewer text, note text DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found susy.checks;
    review_id uuid := gen_random_uuid();
BEGIN
    IF decision IS NULL OR decision NOT IN ('authentic', 'synthetic', 'inconclusive') THEN
        RAISE EXCEPTION 'a decision is authentic, synthetic or inconclusive' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF trim(coalesce(reviewer, '')) = '' THEN
        RAISE EXCEPTION 'a review names its reviewer' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- The lock keeps the check from being queued again between this look and the review.
    SELECT c.* INTO found FROM susy.checks AS c WHERE c.id = record_review.check_id FOR NO KEY UPDATE;
    IF found.id IS NULL THEN
        RAISE EXCEPTION 'no check has the id %', record_review.check_id USING ERRCODE = 'SY001';
    END IF;
    IF found.state IN ('queued', 'running') THEN
        RAISE EXCEPTION 'check % is %; review it when it has ended', found.id, found.state USING ERRCODE = 'SY002';
    END IF;
    INSERT INTO susy.reviews (id, check_id, reviewer, decision, note, content_sha256)
    VALUES (
        review_id, found.id, record_review.reviewer, record_review.decision, record_review.note, found.content_sha256
    );
    RETURN review_id;
END
$$;

REVOKE ALL ON FUNCTION dashboard.record_review FROM PUBLIC;
COMMENT ON FUNCTION dashboard.record_review IS 'Store what a person decided about a check that has ended. Reviews are only added; the latest overrides the verdict.';

-- The role that moderators' tools are members of, beside susy_dashboard: it may record reviews, and nothing else.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_moderator') THEN
        CREATE ROLE susy_moderator NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'may not create the role susy_moderator; create it and grant it USAGE on schema dashboard and EXECUTE on dashboard.record_review';
END
$$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_moderator') THEN
        GRANT USAGE ON SCHEMA dashboard TO susy_moderator;
        GRANT EXECUTE ON FUNCTION dashboard.record_review TO susy_moderator;
    END IF;
END
$$;
