-- The confidence in a generator, beside the generator. Replacing a view keeps its grants and its comments.

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
    CASE WHEN v.generator IS NOT NULL THEN (
        SELECT round(least(1, max(p.probability::double precision) / nullif(v.score, 0))::numeric, 4)::double precision
        FROM jsonb_each_text(v.class_scores) AS p (class, probability) WHERE p.class <> s.classes[1]
    ) END AS generator_confidence
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
    CASE WHEN v.generator IS NOT NULL THEN (
        SELECT round(least(1, max(p.probability::double precision) / nullif(v.score, 0))::numeric, 4)::double precision
        FROM jsonb_each_text(v.class_scores) AS p (class, probability) WHERE p.class <> s.classes[1]
    ) END AS generator_confidence
FROM susy.verdicts AS v
JOIN susy.checks AS c ON c.id = v.check_id
LEFT JOIN susy.scans AS s ON s.id = v.scan_id
WHERE v.mode = 'live'
    AND v.needs_review
    AND v.reviewed_at IS NULL
    AND NOT EXISTS (SELECT FROM susy.reviews AS r WHERE r.check_id = v.check_id)
ORDER BY v.created_at;

COMMENT ON COLUMN dashboard.checks.generator IS 'The most probable generator when one leads clearly, otherwise unknown_generator; null when authentic or not scored.';
COMMENT ON COLUMN dashboard.checks.generator_confidence IS 'Share of the synthetic probability that its most probable generator holds, 0 to 1; null without a generator.';
COMMENT ON COLUMN dashboard.review_queue.generator IS 'The most probable generator when one leads clearly, otherwise unknown_generator; null when authentic or not scored.';
COMMENT ON COLUMN dashboard.review_queue.generator_confidence IS 'Share of the synthetic probability that its most probable generator holds, 0 to 1; null without a generator.';
