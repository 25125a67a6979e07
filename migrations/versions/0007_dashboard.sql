-- The precision of the scan, at the end. Replacing a view keeps its grants and its comments.

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
    s.precision
FROM susy.checks AS c
LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
LEFT JOIN susy.scans AS s ON s.id = v.scan_id;

COMMENT ON COLUMN dashboard.checks.precision IS 'Precision in which the network computed: float32, bfloat16 or float16; null unless done.';
