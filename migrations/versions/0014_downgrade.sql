DROP VIEW dashboard.checks;
ALTER TABLE susy.checks
    DROP COLUMN etag,
    DROP COLUMN version_id,
    DROP COLUMN fetched_etag,
    DROP COLUMN fetched_version_id;

CREATE VIEW dashboard.checks AS
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

COMMENT ON VIEW dashboard.checks IS 'One row per check, with its live verdict once it is done.';
COMMENT ON COLUMN dashboard.checks.id IS 'The check; what `susy submit` printed as check_id.';
COMMENT ON COLUMN dashboard.checks.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.checks.external_id IS 'The platform''s own id of the upload; the check''s id when none was submitted.';
COMMENT ON COLUMN dashboard.checks.uri IS 'The location of the image at submission.';
COMMENT ON COLUMN dashboard.checks.lane IS 'live or backfill.';
COMMENT ON COLUMN dashboard.checks.state IS 'queued, running, done, quarantined, cancelled or expired.';
COMMENT ON COLUMN dashboard.checks.attempts IS 'How many attempts workers have begun.';
COMMENT ON COLUMN dashboard.checks.created_at IS 'When it was accepted.';
COMMENT ON COLUMN dashboard.checks.started_at IS 'When the latest attempt began.';
COMMENT ON COLUMN dashboard.checks.finished_at IS 'When it became done, quarantined, cancelled or expired; null before.';
COMMENT ON COLUMN dashboard.checks.decision IS 'authentic, synthetic or inconclusive; null unless done.';
COMMENT ON COLUMN dashboard.checks.score IS 'Probability that the image is synthetic, 0 to 1; null when no tile could be scored.';
COMMENT ON COLUMN dashboard.checks.class_scores IS 'Probability of each class, as an object of name to number.';
COMMENT ON COLUMN dashboard.checks.generator IS 'The most probable generator when one leads clearly, otherwise unknown_generator; null when authentic or not scored.';
COMMENT ON COLUMN dashboard.checks.reasons IS 'The reasons for the decision, as words.';
COMMENT ON COLUMN dashboard.checks.needs_review IS 'Whether the policy asks for a review.';
COMMENT ON COLUMN dashboard.checks.regions IS 'Rectangles that look synthetic: an array of {x, y, width, height, score} in pixels.';
COMMENT ON COLUMN dashboard.checks.policy IS 'Name of the policy that decided, or of the requested one while there is no verdict; null for the default one.';
COMMENT ON COLUMN dashboard.checks.policy_version IS 'Version of the policy that decided.';
COMMENT ON COLUMN dashboard.checks.model IS 'Name of the detector.';
COMMENT ON COLUMN dashboard.checks.model_sha256 IS 'Digest of the detector''s weights.';
COMMENT ON COLUMN dashboard.checks.is_demo IS 'True when scored by the demonstration weights, which must not be used for decisions.';
COMMENT ON COLUMN dashboard.checks.width IS 'Width of the image in pixels, upright.';
COMMENT ON COLUMN dashboard.checks.height IS 'Height of the image in pixels, upright.';
COMMENT ON COLUMN dashboard.checks.tiles_total IS 'How many tiles the image has.';
COMMENT ON COLUMN dashboard.checks.tiles_scored IS 'How many of them the detector scored.';
COMMENT ON COLUMN dashboard.checks.content_sha256 IS 'Digest of the encoded image; equal for re-uploads.';
COMMENT ON COLUMN dashboard.checks.attributes IS 'The attributes that were submitted with the check.';
COMMENT ON COLUMN dashboard.checks.error_code IS 'Stable name of the latest failure; null once done.';
COMMENT ON COLUMN dashboard.checks.error_message IS 'One line about the latest failure.';
COMMENT ON COLUMN dashboard.checks.review_decision IS 'The decision of the latest review; null without one.';
COMMENT ON COLUMN dashboard.checks.generator_confidence IS 'Share of the synthetic probability that its most probable generator holds, 0 to 1; null without a generator.';
COMMENT ON COLUMN dashboard.checks.map_sampled IS 'True when the image has more tiles than the limit, and its map shows a coarser grid of them.';
COMMENT ON COLUMN dashboard.checks.precision IS 'Precision in which the network computed: float32, bfloat16 or float16; null unless done.';
COMMENT ON COLUMN dashboard.checks.final_decision IS 'The decision of the latest review, or without one that of the verdict; null when there is neither.';
COMMENT ON COLUMN dashboard.checks.reviewed_before IS 'The decision of the latest review of another check of the same content; null without one.';
COMMENT ON COLUMN dashboard.checks.expires_at IS 'When the check expires unless a worker has begun it; null without a deadline.';
