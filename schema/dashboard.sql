-- The dashboards' contract: what these views are called, which columns they have and what a column means stays.
-- Columns may be added at the end of a view. `docs/database.md` shows queries.
--
-- This is the contract as it is now; each migration carries the text it ran, and a test keeps the two equal.

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
    v.generator_confidence
FROM susy.checks AS c
LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
LEFT JOIN susy.scans AS s ON s.id = v.scan_id;

COMMENT ON VIEW dashboard.checks IS 'One row a check, with its live verdict once it is done.';
COMMENT ON COLUMN dashboard.checks.id IS 'The check; what `susy submit` printed as check_id.';
COMMENT ON COLUMN dashboard.checks.source IS 'Who asked: the surface or service.';
COMMENT ON COLUMN dashboard.checks.external_id IS 'The platform''s own id of the upload; the check''s id when none was given.';
COMMENT ON COLUMN dashboard.checks.uri IS 'Where the image was when it was submitted.';
COMMENT ON COLUMN dashboard.checks.lane IS 'live or backfill.';
COMMENT ON COLUMN dashboard.checks.state IS 'queued, running, done, quarantined or cancelled.';
COMMENT ON COLUMN dashboard.checks.attempts IS 'How often a worker has begun it.';
COMMENT ON COLUMN dashboard.checks.created_at IS 'When it was accepted.';
COMMENT ON COLUMN dashboard.checks.started_at IS 'When the latest attempt began.';
COMMENT ON COLUMN dashboard.checks.finished_at IS 'When it became done, quarantined or cancelled; null before.';
COMMENT ON COLUMN dashboard.checks.decision IS 'authentic, synthetic or inconclusive; null unless done.';
COMMENT ON COLUMN dashboard.checks.score IS 'Probability that the image is synthetic, 0 to 1; null when no tile could be scored.';
COMMENT ON COLUMN dashboard.checks.class_scores IS 'Probability of each class, as an object of name to number.';
COMMENT ON COLUMN dashboard.checks.generator IS 'The most probable generator when one leads clearly, else unknown_generator; null when authentic or not scored.';
COMMENT ON COLUMN dashboard.checks.reasons IS 'Why the decision is what it is, as words.';
COMMENT ON COLUMN dashboard.checks.needs_review IS 'Whether the policy asks for a person''s look.';
COMMENT ON COLUMN dashboard.checks.regions IS 'Synthetic-looking rectangles: an array of {x, y, width, height, score} in pixels.';
COMMENT ON COLUMN dashboard.checks.policy IS 'Name of the policy that decided, or, before, of the one asked for; null for the default one.';
COMMENT ON COLUMN dashboard.checks.policy_version IS 'Version of the policy that decided.';
COMMENT ON COLUMN dashboard.checks.model IS 'Name of the detector.';
COMMENT ON COLUMN dashboard.checks.model_sha256 IS 'Digest of the detector''s weights.';
COMMENT ON COLUMN dashboard.checks.is_demo IS 'True when scored by the demonstration weights, which are no basis for a decision.';
COMMENT ON COLUMN dashboard.checks.width IS 'Width of the image in pixels, upright.';
COMMENT ON COLUMN dashboard.checks.height IS 'Height of the image in pixels, upright.';
COMMENT ON COLUMN dashboard.checks.tiles_total IS 'How many tiles the image has.';
COMMENT ON COLUMN dashboard.checks.tiles_scored IS 'How many of them the detector looked at.';
COMMENT ON COLUMN dashboard.checks.content_sha256 IS 'Digest of the encoded image; equal for re-uploads.';
COMMENT ON COLUMN dashboard.checks.attributes IS 'The facts that were submitted with the check.';
COMMENT ON COLUMN dashboard.checks.error_code IS 'Stable name of the latest failure; null once done.';
COMMENT ON COLUMN dashboard.checks.error_message IS 'One line about the latest failure.';
COMMENT ON COLUMN dashboard.checks.review_decision IS 'What the latest review decided; null without one.';
COMMENT ON COLUMN dashboard.checks.generator_confidence IS 'Share of the synthetic probability that its most probable generator holds, 0 to 1; null without a generator.';

CREATE VIEW dashboard.review_queue AS
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
    v.generator_confidence
FROM susy.verdicts AS v
JOIN susy.checks AS c ON c.id = v.check_id
WHERE v.mode = 'live'
    AND v.needs_review
    AND v.reviewed_at IS NULL
    AND NOT EXISTS (SELECT FROM susy.reviews AS r WHERE r.check_id = v.check_id)
ORDER BY v.created_at;

COMMENT ON VIEW dashboard.review_queue IS 'Checks that a person should look at and nobody has reviewed, the oldest verdict first.';
COMMENT ON COLUMN dashboard.review_queue.id IS 'The check.';
COMMENT ON COLUMN dashboard.review_queue.source IS 'Who asked: the surface or service.';
COMMENT ON COLUMN dashboard.review_queue.external_id IS 'The platform''s own id of the upload.';
COMMENT ON COLUMN dashboard.review_queue.uri IS 'Where the image was when it was submitted.';
COMMENT ON COLUMN dashboard.review_queue.lane IS 'live or backfill.';
COMMENT ON COLUMN dashboard.review_queue.created_at IS 'When the check was accepted.';
COMMENT ON COLUMN dashboard.review_queue.decided_at IS 'When the verdict was recorded; the queue''s order.';
COMMENT ON COLUMN dashboard.review_queue.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.review_queue.score IS 'Probability that the image is synthetic, 0 to 1; null when no tile could be scored.';
COMMENT ON COLUMN dashboard.review_queue.generator IS 'The most probable generator when one leads clearly, else unknown_generator; null when authentic or not scored.';
COMMENT ON COLUMN dashboard.review_queue.reasons IS 'Why the decision is what it is, as words.';
COMMENT ON COLUMN dashboard.review_queue.regions IS 'Synthetic-looking rectangles: an array of {x, y, width, height, score} in pixels.';
COMMENT ON COLUMN dashboard.review_queue.policy IS 'Name of the policy that decided.';
COMMENT ON COLUMN dashboard.review_queue.policy_version IS 'Version of the policy that decided.';
COMMENT ON COLUMN dashboard.review_queue.attributes IS 'The facts that were submitted with the check.';
COMMENT ON COLUMN dashboard.review_queue.generator_confidence IS 'Share of the synthetic probability that its most probable generator holds, 0 to 1; null without a generator.';

CREATE VIEW dashboard.maps AS
SELECT v.check_id, s.width, s.height, s.map_png
FROM susy.verdicts AS v
JOIN susy.scans AS s ON s.id = v.scan_id
WHERE v.mode = 'live' AND s.map_png IS NOT NULL;

COMMENT ON VIEW dashboard.maps IS 'The localization map of each check that has one. Ask for one check_id at a time.';
COMMENT ON COLUMN dashboard.maps.check_id IS 'The check.';
COMMENT ON COLUMN dashboard.maps.width IS 'Width of the image in pixels, upright; the map is to be stretched to it.';
COMMENT ON COLUMN dashboard.maps.height IS 'Height of the image in pixels, upright.';
COMMENT ON COLUMN dashboard.maps.map_png IS 'The map as the bytes of a PNG file.';

CREATE VIEW dashboard.quarantine AS
SELECT
    id,
    source,
    external_id,
    uri,
    lane,
    attempts,
    created_at,
    finished_at,
    error_code,
    error_message,
    worker,
    attributes
FROM susy.checks
WHERE state = 'quarantined';

COMMENT ON VIEW dashboard.quarantine IS 'Checks that failed for good and wait for an operator.';
COMMENT ON COLUMN dashboard.quarantine.id IS 'The check.';
COMMENT ON COLUMN dashboard.quarantine.source IS 'Who asked: the surface or service.';
COMMENT ON COLUMN dashboard.quarantine.external_id IS 'The platform''s own id of the upload.';
COMMENT ON COLUMN dashboard.quarantine.uri IS 'Where the image was when it was submitted.';
COMMENT ON COLUMN dashboard.quarantine.lane IS 'live or backfill.';
COMMENT ON COLUMN dashboard.quarantine.attempts IS 'How often a worker has begun it.';
COMMENT ON COLUMN dashboard.quarantine.created_at IS 'When the check was accepted.';
COMMENT ON COLUMN dashboard.quarantine.finished_at IS 'When it was quarantined.';
COMMENT ON COLUMN dashboard.quarantine.error_code IS 'Stable name of the failure.';
COMMENT ON COLUMN dashboard.quarantine.error_message IS 'One line that names what is wrong and what to do.';
COMMENT ON COLUMN dashboard.quarantine.worker IS 'Which worker held it last.';
COMMENT ON COLUMN dashboard.quarantine.attributes IS 'The facts that were submitted with the check.';

CREATE VIEW dashboard.backlog AS
SELECT
    lanes.lane,
    coalesce(waiting.queued, 0) AS queued,
    coalesce(waiting.due, 0) AS due,
    coalesce(held.running, 0) AS running,
    extract(epoch FROM now() - waiting.oldest_due)::double precision AS oldest_age_seconds
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
) AS held ON held.lane = lanes.lane;

COMMENT ON VIEW dashboard.backlog IS 'What waits in each lane now.';
COMMENT ON COLUMN dashboard.backlog.lane IS 'live or backfill.';
COMMENT ON COLUMN dashboard.backlog.queued IS 'Checks that wait, those that wait for their next attempt''s time included.';
COMMENT ON COLUMN dashboard.backlog.due IS 'Checks that a worker could begin now.';
COMMENT ON COLUMN dashboard.backlog.running IS 'Checks that a worker holds.';
COMMENT ON COLUMN dashboard.backlog.oldest_age_seconds IS 'How long the longest-waiting check has been due; null when none is.';

CREATE VIEW dashboard.reviews AS
SELECT check_id, reviewer, decision, note, created_at FROM susy.reviews;

COMMENT ON VIEW dashboard.reviews IS 'What people decided; rows are only ever added.';
COMMENT ON COLUMN dashboard.reviews.check_id IS 'The check.';
COMMENT ON COLUMN dashboard.reviews.reviewer IS 'Who decided.';
COMMENT ON COLUMN dashboard.reviews.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.reviews.note IS 'What the reviewer had to say.';
COMMENT ON COLUMN dashboard.reviews.created_at IS 'When.';

CREATE VIEW dashboard.rejected_messages AS
SELECT id, received_at, task, code, message, body FROM susy.rejected_messages;

COMMENT ON VIEW dashboard.rejected_messages IS 'Messages from the queue that no check could be made of.';
COMMENT ON COLUMN dashboard.rejected_messages.id IS 'Counts up.';
COMMENT ON COLUMN dashboard.rejected_messages.received_at IS 'When the message came.';
COMMENT ON COLUMN dashboard.rejected_messages.task IS 'Name of the Celery task it was sent to.';
COMMENT ON COLUMN dashboard.rejected_messages.code IS 'Stable name of what is wrong.';
COMMENT ON COLUMN dashboard.rejected_messages.message IS 'One line about what is wrong.';
COMMENT ON COLUMN dashboard.rejected_messages.body IS 'The message''s beginning, at most 4096 bytes. Written by whoever sent it: show it as text only.';
