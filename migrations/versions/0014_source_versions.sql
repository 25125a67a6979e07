ALTER TABLE susy.checks
    ADD COLUMN etag text,
    ADD COLUMN version_id text,
    ADD COLUMN fetched_etag text,
    ADD COLUMN fetched_version_id text;

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
    END AS source_changed
FROM susy.checks AS c
LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
LEFT JOIN susy.scans AS s ON s.id = v.scan_id;

COMMENT ON COLUMN dashboard.checks.etag IS 'Entity tag of the image at submission, where the submitter named it.';
COMMENT ON COLUMN dashboard.checks.version_id IS 'Version of the object at submission, where the submitter named it.';
COMMENT ON COLUMN dashboard.checks.fetched_etag IS 'Entity tag of the image that was examined, where its server named it.';
COMMENT ON COLUMN dashboard.checks.fetched_version_id IS 'Version of the object that was examined, in a bucket that keeps versions.';
COMMENT ON COLUMN dashboard.checks.source_changed IS 'True when another image was examined than was submitted, false when it was the same one; null when that cannot be told.';
