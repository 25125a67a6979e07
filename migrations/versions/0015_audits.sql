ALTER TABLE susy.verdicts
    ADD COLUMN audit_rate real,
    ADD CONSTRAINT ck_verdicts_audit_rate CHECK (audit_rate > 0 AND audit_rate <= 1);

DROP INDEX susy.ix_verdicts_to_review;
CREATE INDEX ix_verdicts_to_review ON susy.verdicts (created_at)
WHERE mode = 'live' AND (needs_review OR audit_rate IS NOT NULL) AND reviewed_at IS NULL;

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
    ) AS reviewed_before,
    c.etag,
    c.version_id,
    c.fetched_etag,
    c.fetched_version_id,
    CASE
        WHEN c.etag <> c.fetched_etag OR c.version_id <> c.fetched_version_id THEN true
        WHEN c.etag = c.fetched_etag OR c.version_id = c.fetched_version_id THEN false
    END AS source_changed,
    v.audit_rate
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
    ) AS reviewed_before,
    v.needs_review,
    v.audit_rate
FROM susy.verdicts AS v
JOIN susy.checks AS c ON c.id = v.check_id
WHERE v.mode = 'live'
    AND (v.needs_review OR v.audit_rate IS NOT NULL)
    AND v.reviewed_at IS NULL
    AND NOT EXISTS (SELECT FROM susy.reviews AS r WHERE r.check_id = v.check_id)
ORDER BY v.created_at;

COMMENT ON COLUMN dashboard.checks.audit_rate IS 'The probability with which the content was drawn for an audit, above 0 and up to 1; null when it was not drawn.';
COMMENT ON COLUMN dashboard.review_queue.needs_review IS 'Whether the policy asks for a review; false when the check is here for an audit alone.';
COMMENT ON COLUMN dashboard.review_queue.audit_rate IS 'The probability with which the content was drawn for an audit, above 0 and up to 1; null when it was not drawn.';
COMMENT ON VIEW dashboard.review_queue IS 'Checks that need a review, or were drawn for an audit, and have no review; the oldest verdict first.';
