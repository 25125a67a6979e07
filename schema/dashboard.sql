-- The contract with dashboards: the names of these views, their columns and the meaning of a column do not change.
-- Columns may be added at the end of a view. `docs/database.md` shows queries.
--
-- This file is the present state. Migrations carry their own text; a test compares the result with this file.

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
    (SELECT r.decision FROM susy.counted_reviews AS r WHERE r.check_id = c.id) AS review_decision,
    v.generator_confidence,
    s.map_sampled,
    s.precision,
    c.expires_at,
    coalesce((SELECT r.decision FROM susy.counted_reviews AS r WHERE r.check_id = c.id), v.decision) AS final_decision,
    (
        SELECT r.decision FROM susy.counted_reviews AS r
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

COMMENT ON VIEW dashboard.checks IS 'One row per check, with its live verdict once it is done.';
COMMENT ON COLUMN dashboard.checks.id IS 'Identifier of the check, as `susy submit` printed it.';
COMMENT ON COLUMN dashboard.checks.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.checks.external_id IS 'The platform''s own id of the upload; the check''s id when none was submitted.';
COMMENT ON COLUMN dashboard.checks.uri IS 'The location of the image at submission.';
COMMENT ON COLUMN dashboard.checks.lane IS 'live or backfill.';
COMMENT ON COLUMN dashboard.checks.state IS 'queued, running, done, quarantined, cancelled or expired.';
COMMENT ON COLUMN dashboard.checks.attempts IS 'Number of attempts that workers have begun.';
COMMENT ON COLUMN dashboard.checks.created_at IS 'When it was accepted.';
COMMENT ON COLUMN dashboard.checks.started_at IS 'When the latest attempt began.';
COMMENT ON COLUMN dashboard.checks.finished_at IS 'When it became done, quarantined, cancelled or expired; null before.';
COMMENT ON COLUMN dashboard.checks.decision IS 'authentic, synthetic or inconclusive; null unless done.';
COMMENT ON COLUMN dashboard.checks.score IS 'Probability that the image is synthetic, 0 to 1; null when no tile could be scored.';
COMMENT ON COLUMN dashboard.checks.class_scores IS 'Probability of each class, as an object that maps names to numbers.';
COMMENT ON COLUMN dashboard.checks.generator IS 'The most probable generator when one leads clearly, otherwise unknown_generator; null when authentic or not scored.';
COMMENT ON COLUMN dashboard.checks.reasons IS 'Codes of the reasons for the decision, such as between_thresholds.';
COMMENT ON COLUMN dashboard.checks.needs_review IS 'Whether the policy asks for a review.';
COMMENT ON COLUMN dashboard.checks.regions IS 'Parts of the image that look synthetic, the strongest first: an array of objects with the columns of dashboard.regions.';
COMMENT ON COLUMN dashboard.checks.policy IS 'Name of the policy that decided, or of the requested one while there is no verdict; null for the default one.';
COMMENT ON COLUMN dashboard.checks.policy_version IS 'Version of the policy that decided.';
COMMENT ON COLUMN dashboard.checks.model IS 'Name of the detector.';
COMMENT ON COLUMN dashboard.checks.model_sha256 IS 'Digest of the detector''s weights.';
COMMENT ON COLUMN dashboard.checks.is_demo IS 'True when scored by the demonstration weights, which must not be used for decisions.';
COMMENT ON COLUMN dashboard.checks.width IS 'Width of the image in pixels, upright.';
COMMENT ON COLUMN dashboard.checks.height IS 'Height of the image in pixels, upright.';
COMMENT ON COLUMN dashboard.checks.tiles_total IS 'Number of tiles in the image.';
COMMENT ON COLUMN dashboard.checks.tiles_scored IS 'Number of tiles that the detector scored.';
COMMENT ON COLUMN dashboard.checks.content_sha256 IS 'Digest of the encoded image; equal for re-uploads.';
COMMENT ON COLUMN dashboard.checks.attributes IS 'The attributes that were submitted with the check.';
COMMENT ON COLUMN dashboard.checks.error_code IS 'Stable name of the latest failure; null once done.';
COMMENT ON COLUMN dashboard.checks.error_message IS 'One-line description of the latest failure.';
COMMENT ON COLUMN dashboard.checks.review_decision IS 'The decision of the latest review; null without one.';
COMMENT ON COLUMN dashboard.checks.generator_confidence IS 'Share of the synthetic probability that its most probable generator holds, 0 to 1; null without a generator.';
COMMENT ON COLUMN dashboard.checks.map_sampled IS 'True when the image has more tiles than the limit, and its map shows a coarser grid of them.';
COMMENT ON COLUMN dashboard.checks.precision IS 'Precision in which the network computed: float32, bfloat16 or float16; null unless done.';
COMMENT ON COLUMN dashboard.checks.final_decision IS 'The decision of the latest review, or without one that of the verdict; null when there is neither.';
COMMENT ON COLUMN dashboard.checks.reviewed_before IS 'The decision of the latest review of another check of the same content; null without one.';
COMMENT ON COLUMN dashboard.checks.expires_at IS 'When the check expires unless a worker has begun it; null without a deadline.';
COMMENT ON COLUMN dashboard.checks.etag IS 'Entity tag of the image at submission, where the submitter named it.';
COMMENT ON COLUMN dashboard.checks.version_id IS 'Version of the object at submission, where the submitter named it.';
COMMENT ON COLUMN dashboard.checks.fetched_etag IS 'Entity tag of the image that was examined, where its server named it.';
COMMENT ON COLUMN dashboard.checks.fetched_version_id IS 'Version of the object that was examined, in a bucket that keeps versions.';
COMMENT ON COLUMN dashboard.checks.source_changed IS 'True when another image was examined than was submitted, false when it was the same one; null when that cannot be told.';
COMMENT ON COLUMN dashboard.checks.audit_rate IS 'The probability with which the content was drawn for an audit, above 0 and up to 1; null when it was not drawn.';

CREATE VIEW dashboard.review_queue AS
SELECT
    i.check_id AS id,
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
        SELECT r.decision FROM susy.counted_reviews AS r
        WHERE r.content_sha256 = c.content_sha256 AND r.check_id <> c.id
        ORDER BY r.created_at DESC, r.id DESC LIMIT 1
    ) AS reviewed_before,
    v.needs_review,
    v.audit_rate,
    i.score_band,
    i.reach_rank,
    i.waiting_since,
    o.moderator AS claimed_by,
    o.claimed_until
FROM susy.review_items AS i
JOIN susy.verdicts AS v ON v.check_id = i.check_id AND v.mode = 'live'
JOIN susy.checks AS c ON c.id = i.check_id
LEFT JOIN susy.open_claims AS o
    ON o.check_id = i.check_id AND o.kind <> 'golden' AND o.claimed_until > now()
WHERE i.kind = 'first'
ORDER BY i.score_band, i.reach_rank, i.waiting_since, i.check_id;

COMMENT ON VIEW dashboard.review_queue IS 'Checks that need a review, or were drawn for an audit, and have none, in the order in which they are given to moderators: by score, reach and age.';
COMMENT ON COLUMN dashboard.review_queue.id IS 'Identifier of the check.';
COMMENT ON COLUMN dashboard.review_queue.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.review_queue.external_id IS 'The platform''s own id of the upload.';
COMMENT ON COLUMN dashboard.review_queue.uri IS 'The location of the image at submission.';
COMMENT ON COLUMN dashboard.review_queue.lane IS 'live or backfill.';
COMMENT ON COLUMN dashboard.review_queue.created_at IS 'When the check was accepted.';
COMMENT ON COLUMN dashboard.review_queue.decided_at IS 'When the verdict was recorded.';
COMMENT ON COLUMN dashboard.review_queue.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.review_queue.score IS 'Probability that the image is synthetic, 0 to 1; null when no tile could be scored.';
COMMENT ON COLUMN dashboard.review_queue.generator IS 'The most probable generator when one leads clearly, otherwise unknown_generator; null when authentic or not scored.';
COMMENT ON COLUMN dashboard.review_queue.reasons IS 'Codes of the reasons for the decision, such as between_thresholds.';
COMMENT ON COLUMN dashboard.review_queue.regions IS 'Parts of the image that look synthetic, the strongest first: an array of objects with the columns of dashboard.regions.';
COMMENT ON COLUMN dashboard.review_queue.policy IS 'Name of the policy that decided.';
COMMENT ON COLUMN dashboard.review_queue.policy_version IS 'Version of the policy that decided.';
COMMENT ON COLUMN dashboard.review_queue.attributes IS 'The attributes that were submitted with the check.';
COMMENT ON COLUMN dashboard.review_queue.generator_confidence IS 'Share of the synthetic probability that its most probable generator holds, 0 to 1; null without a generator.';
COMMENT ON COLUMN dashboard.review_queue.reviewed_before IS 'The decision of the latest review of another check of the same content; null without one.';
COMMENT ON COLUMN dashboard.review_queue.needs_review IS 'Whether the policy asks for a review; false when the check is here for an audit alone.';
COMMENT ON COLUMN dashboard.review_queue.audit_rate IS 'The probability with which the content was drawn for an audit, above 0 and up to 1; null when it was not drawn.';
COMMENT ON COLUMN dashboard.review_queue.score_band IS 'First key of the order, ascending: 0 for scores of 0.95 and above, 10 for those below 0.05 and for images that could not be scored.';
COMMENT ON COLUMN dashboard.review_queue.reach_rank IS 'Second key of the order, ascending: minus the attribute reach, if that is a positive number, else 0.';
COMMENT ON COLUMN dashboard.review_queue.waiting_since IS 'Third key of the order, ascending: when the check began to wait for a review.';
COMMENT ON COLUMN dashboard.review_queue.claimed_by IS 'Moderator who holds a claim on it; null without one.';
COMMENT ON COLUMN dashboard.review_queue.claimed_until IS 'When that claim ends, unless it is extended; null without one.';

CREATE VIEW dashboard.maps AS
SELECT v.check_id, s.width, s.height, s.map_png, s.map_sampled
FROM susy.verdicts AS v
JOIN susy.scans AS s ON s.id = v.scan_id
WHERE v.mode = 'live' AND s.map_png IS NOT NULL;

COMMENT ON VIEW dashboard.maps IS 'Localization map of each check that has one. Select one check_id at a time.';
COMMENT ON COLUMN dashboard.maps.check_id IS 'Identifier of the check.';
COMMENT ON COLUMN dashboard.maps.width IS 'Width of the image in pixels, upright; stretch the map to it.';
COMMENT ON COLUMN dashboard.maps.height IS 'Height of the image in pixels, upright.';
COMMENT ON COLUMN dashboard.maps.map_png IS 'The map as the bytes of a PNG file.';
COMMENT ON COLUMN dashboard.maps.map_sampled IS 'True when the map shows a coarser grid of tiles, each stretched to the place of those that were left out.';

CREATE VIEW dashboard.localization AS
SELECT
    c.id AS check_id,
    c.source,
    c.external_id,
    c.created_at,
    v.decision,
    v.score,
    v.generator,
    s.width,
    s.height,
    split_part(s.tiling, '-', 2)::integer AS stride,
    s.tiles_total,
    s.tiles_scored,
    s.map_sampled,
    v.regions,
    jsonb_array_length(v.regions) AS region_count,
    (SELECT sum((r ->> 'area')::double precision) FROM jsonb_array_elements(v.regions) AS r) AS region_area,
    CASE WHEN s.map_scores IS NOT NULL THEN jsonb_build_object(
        'width', s.width,
        'height', s.height,
        'x_edges', s.map_x_edges,
        'y_edges', s.map_y_edges,
        'scores', (
            SELECT jsonb_agg(one.scores ORDER BY one.number)
            FROM (
                SELECT
                    (cell.number - 1) / array_length(s.map_scores, 2) AS number,
                    jsonb_agg(trim_scale(cell.score / 10000.0) ORDER BY cell.number) AS scores
                FROM unnest(s.map_scores) WITH ORDINALITY AS cell (score, number)
                GROUP BY 1
            ) AS one
        ),
        'sampled', s.map_sampled
    ) END AS grid,
    s.map_png,
    s.model_name AS model,
    s.weights_sha256 AS model_sha256,
    s.precision,
    s.is_demo
FROM susy.checks AS c
JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
JOIN susy.scans AS s ON s.id = v.scan_id
WHERE s.map_png IS NOT NULL;

COMMENT ON VIEW dashboard.localization IS 'Parts of each image with a map that look synthetic: the map as a picture and as numbers, and its regions. Select grid and map_png for one check_id at a time.';
COMMENT ON COLUMN dashboard.localization.check_id IS 'Identifier of the check.';
COMMENT ON COLUMN dashboard.localization.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.localization.external_id IS 'The platform''s own id of the upload.';
COMMENT ON COLUMN dashboard.localization.created_at IS 'When it was accepted.';
COMMENT ON COLUMN dashboard.localization.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.localization.score IS 'Probability that the image is synthetic, 0 to 1; null when no tile could be scored.';
COMMENT ON COLUMN dashboard.localization.generator IS 'The most probable generator of the image when one leads clearly, otherwise unknown_generator; null when authentic or not scored.';
COMMENT ON COLUMN dashboard.localization.width IS 'Width of the image in pixels, upright; stretch the map to it.';
COMMENT ON COLUMN dashboard.localization.height IS 'Height of the image in pixels, upright.';
COMMENT ON COLUMN dashboard.localization.stride IS 'Distance between the tiles of the map in pixels, 56 to 224. A cell under several tiles has their mean.';
COMMENT ON COLUMN dashboard.localization.tiles_total IS 'Number of tiles in the image.';
COMMENT ON COLUMN dashboard.localization.tiles_scored IS 'Number of tiles that were scored. If it is 0, the map is transparent and the grid null.';
COMMENT ON COLUMN dashboard.localization.map_sampled IS 'True when the map shows a coarser grid of tiles, each stretched to the place of those that were left out.';
COMMENT ON COLUMN dashboard.localization.regions IS 'Parts that look synthetic, the strongest first: an array of objects as in dashboard.regions.';
COMMENT ON COLUMN dashboard.localization.region_count IS 'Number of regions.';
COMMENT ON COLUMN dashboard.localization.region_area IS 'Share of the image that lies in regions, 0 to 1; null without regions, or when they were recorded without their areas.';
COMMENT ON COLUMN dashboard.localization.grid IS 'The map as numbers, an object of width and height of the image, x_edges and y_edges (borders of the cells in pixels), scores (one list per row of cells: probability that the cell is synthetic, 0 to 1, null when not scored) and sampled; null for a map that was stored without them.';
COMMENT ON COLUMN dashboard.localization.map_png IS 'The map as the bytes of a PNG file.';
COMMENT ON COLUMN dashboard.localization.model IS 'Name of the detector.';
COMMENT ON COLUMN dashboard.localization.model_sha256 IS 'Digest of the detector''s weights.';
COMMENT ON COLUMN dashboard.localization.precision IS 'Precision in which the network computed: float32, bfloat16 or float16.';
COMMENT ON COLUMN dashboard.localization.is_demo IS 'True when scored by the demonstration weights, which must not be used for decisions.';

CREATE VIEW dashboard.regions AS
SELECT
    v.check_id,
    r.number::integer AS number,
    (r.region ->> 'x')::integer AS x,
    (r.region ->> 'y')::integer AS y,
    (r.region ->> 'width')::integer AS width,
    (r.region ->> 'height')::integer AS height,
    (r.region ->> 'score')::double precision AS score,
    (r.region ->> 'mean_score')::double precision AS mean_score,
    (r.region ->> 'area')::double precision AS area,
    r.region ->> 'generator' AS generator,
    nullif(r.region -> 'polygon', 'null') AS polygon
FROM susy.verdicts AS v
CROSS JOIN jsonb_array_elements(v.regions) WITH ORDINALITY AS r (region, number)
WHERE v.mode = 'live';

COMMENT ON VIEW dashboard.regions IS 'One row per part of an image that looks synthetic. Select by check_id.';
COMMENT ON COLUMN dashboard.regions.check_id IS 'Identifier of the check.';
COMMENT ON COLUMN dashboard.regions.number IS '1 for the strongest region of the check.';
COMMENT ON COLUMN dashboard.regions.x IS 'Left edge of the rectangle around the region, in pixels of the upright image.';
COMMENT ON COLUMN dashboard.regions.y IS 'Top edge of the rectangle, in pixels.';
COMMENT ON COLUMN dashboard.regions.width IS 'Width of the rectangle in pixels.';
COMMENT ON COLUMN dashboard.regions.height IS 'Height of the rectangle in pixels.';
COMMENT ON COLUMN dashboard.regions.score IS 'Highest score inside, 0 to 1.';
COMMENT ON COLUMN dashboard.regions.mean_score IS 'Mean score of the region''s pixels, 0 to 1; null for regions that were recorded without it.';
COMMENT ON COLUMN dashboard.regions.area IS 'Share of the image inside the outline, 0 to 1; null for regions that were recorded without it.';
COMMENT ON COLUMN dashboard.regions.generator IS 'The most probable generator of the region when one leads clearly, otherwise unknown_generator; null when it was not recorded.';
COMMENT ON COLUMN dashboard.regions.polygon IS 'The outline in pixels, as the coordinates of a GeoJSON polygon: the exterior ring, then the holes, each a list of points [x, y] that ends where it begins; null when it was not recorded.';

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

COMMENT ON VIEW dashboard.quarantine IS 'Checks that have failed permanently, for an operator to resolve.';
COMMENT ON COLUMN dashboard.quarantine.id IS 'Identifier of the check.';
COMMENT ON COLUMN dashboard.quarantine.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.quarantine.external_id IS 'The platform''s own id of the upload.';
COMMENT ON COLUMN dashboard.quarantine.uri IS 'The location of the image at submission.';
COMMENT ON COLUMN dashboard.quarantine.lane IS 'live or backfill.';
COMMENT ON COLUMN dashboard.quarantine.attempts IS 'Number of attempts that workers have begun.';
COMMENT ON COLUMN dashboard.quarantine.created_at IS 'When the check was accepted.';
COMMENT ON COLUMN dashboard.quarantine.finished_at IS 'When it was quarantined.';
COMMENT ON COLUMN dashboard.quarantine.error_code IS 'Stable name of the failure.';
COMMENT ON COLUMN dashboard.quarantine.error_message IS 'One-line description of the fault and its remedy.';
COMMENT ON COLUMN dashboard.quarantine.worker IS 'Worker that last held the lease.';
COMMENT ON COLUMN dashboard.quarantine.attributes IS 'The attributes that were submitted with the check.';

CREATE VIEW dashboard.backlog AS
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

COMMENT ON VIEW dashboard.backlog IS 'Number of checks that wait in each lane.';
COMMENT ON COLUMN dashboard.backlog.lane IS 'live or backfill.';
COMMENT ON COLUMN dashboard.backlog.queued IS 'Checks that wait, including those whose next attempt is not due yet.';
COMMENT ON COLUMN dashboard.backlog.due IS 'Checks that a worker could begin now.';
COMMENT ON COLUMN dashboard.backlog.running IS 'Checks that a worker holds.';
COMMENT ON COLUMN dashboard.backlog.oldest_age_seconds IS 'Seconds for which the longest-waiting check has been due; null when none is.';
COMMENT ON COLUMN dashboard.backlog.paused_at IS 'When the lane was paused; null while it is served.';
COMMENT ON COLUMN dashboard.backlog.expired IS 'Checks that have expired: no worker began them before their deadline.';

CREATE VIEW dashboard.reviews AS
SELECT
    r.check_id,
    r.reviewer,
    r.decision,
    r.note,
    r.created_at,
    r.id,
    r.batch_id,
    (
        SELECT n.created_at FROM susy.undone_reviews AS u JOIN susy.review_undos AS n ON n.id = u.undo_id
        WHERE u.review_id = r.id
    ) AS undone_at
FROM susy.reviews AS r;

COMMENT ON VIEW dashboard.reviews IS 'Decisions by people; rows are only added.';
COMMENT ON COLUMN dashboard.reviews.check_id IS 'Identifier of the check.';
COMMENT ON COLUMN dashboard.reviews.reviewer IS 'Person who decided.';
COMMENT ON COLUMN dashboard.reviews.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.reviews.note IS 'The reviewer''s note.';
COMMENT ON COLUMN dashboard.reviews.created_at IS 'When it was added.';
COMMENT ON COLUMN dashboard.reviews.id IS 'The review, for `susy reviews undo`.';
COMMENT ON COLUMN dashboard.reviews.batch_id IS 'The bulk review that it is a part of; null for the review of one check.';
COMMENT ON COLUMN dashboard.reviews.undone_at IS 'When it was undone; null while it counts.';

CREATE VIEW dashboard.double_reviews AS
SELECT d.check_id, c.source, d.first_reviewer, d.first_decision, d.second_reviewer, d.second_decision, d.created_at
FROM susy.double_reviews AS d
JOIN susy.checks AS c ON c.id = d.check_id;

COMMENT ON VIEW dashboard.double_reviews IS 'Checks that two people decided about, the second without seeing the first one''s decision.';
COMMENT ON COLUMN dashboard.double_reviews.check_id IS 'Identifier of the check.';
COMMENT ON COLUMN dashboard.double_reviews.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.double_reviews.first_reviewer IS 'Person who decided first.';
COMMENT ON COLUMN dashboard.double_reviews.first_decision IS 'What that person decided: authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.double_reviews.second_reviewer IS 'Person who decided second.';
COMMENT ON COLUMN dashboard.double_reviews.second_decision IS 'What that person decided: authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.double_reviews.created_at IS 'When the second person decided.';

CREATE VIEW dashboard.reviewer_agreement AS
SELECT reviewer, other_reviewer, reviewers, checks, agreement, cohens_kappa, krippendorffs_alpha
FROM susy.reviewer_agreement(NULL, NULL);

COMMENT ON VIEW dashboard.reviewer_agreement IS 'Agreement of reviewers on the checks that two of them reviewed: one row per pair, and one row without names for all pairs.';
COMMENT ON COLUMN dashboard.reviewer_agreement.reviewer IS 'First reviewer; null in the row for all pairs.';
COMMENT ON COLUMN dashboard.reviewer_agreement.other_reviewer IS 'Second reviewer; null in the row for all pairs.';
COMMENT ON COLUMN dashboard.reviewer_agreement.reviewers IS 'Number of reviewers that the row covers.';
COMMENT ON COLUMN dashboard.reviewer_agreement.checks IS 'Number of checks that two of them reviewed.';
COMMENT ON COLUMN dashboard.reviewer_agreement.agreement IS 'Share of these checks on which their decisions are equal, 0 to 1.';
COMMENT ON COLUMN dashboard.reviewer_agreement.cohens_kappa IS 'Agreement beyond chance of the pair, at most 1; null in the row for all pairs, and when both gave the same decision every time.';
COMMENT ON COLUMN dashboard.reviewer_agreement.krippendorffs_alpha IS 'Agreement beyond chance of all, at most 1; null in the rows of pairs, and when everybody gave the same decision every time.';

-- The interval is Wilson's: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
-- Journal of the American Statistical Association 22 (1927).
CREATE VIEW dashboard.reviewer_accuracy AS
SELECT
    moderator AS reviewer,
    answers,
    correct,
    inconclusive,
    correct::double precision / answers AS accuracy,
    (share + z2 / 2 - sqrt(z2 * (share * (1 - share) + z2 / 4))) / (1 + z2) AS accuracy_low,
    (share + z2 / 2 + sqrt(z2 * (share * (1 - share) + z2 / 4))) / (1 + z2) AS accuracy_high
FROM (
    SELECT
        g.moderator,
        count(*) AS answers,
        count(*) FILTER (WHERE g.decision = g.expected) AS correct,
        count(*) FILTER (WHERE g.decision = 'inconclusive' AND g.expected <> 'inconclusive') AS inconclusive,
        avg((g.decision = g.expected)::int)::double precision AS share,
        3.841458820694124::double precision / count(*) AS z2
    FROM susy.golden_answers AS g
    WHERE g.expected IS NOT NULL
        AND g.decision IS NOT NULL
        AND NOT EXISTS (SELECT FROM susy.golden_answers AS u WHERE u.undoes = g.id)
    GROUP BY g.moderator
) AS counted;

COMMENT ON VIEW dashboard.reviewer_accuracy IS 'Accuracy of reviewers on golden items: checks whose answer is known, hidden among the others.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.reviewer IS 'The reviewer.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.answers IS 'Number of golden items that the reviewer decided about.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.correct IS 'Number of these decisions that equal the known answer.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.inconclusive IS 'Number of these decisions that are inconclusive where the known answer is not; they count as incorrect.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.accuracy IS 'Share of correct decisions, 0 to 1.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.accuracy_low IS 'Lower bound of the 95 % interval of accuracy.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.accuracy_high IS 'Upper bound of the 95 % interval of accuracy.';

CREATE VIEW dashboard.review_claims AS
SELECT
    c.claim_id,
    c.check_id,
    c.moderator,
    c.kind,
    c.created_at AS claimed_at,
    e.created_at AS ended_at,
    e.action AS outcome,
    extract(epoch FROM e.created_at - c.created_at)::double precision AS seconds,
    e.reason,
    (
        SELECT count(*) FROM susy.review_claims AS x WHERE x.claim_id = c.claim_id AND x.action = 'extended'
    ) AS extensions
FROM susy.review_claims AS c
LEFT JOIN susy.review_claims AS e ON e.claim_id = c.claim_id AND e.action NOT IN ('claimed', 'extended')
WHERE c.action = 'claimed';

COMMENT ON VIEW dashboard.review_claims IS 'Every check that was given to a moderator, and the outcome. Rows are only added. For decided claims, seconds is the time to decision.';
COMMENT ON COLUMN dashboard.review_claims.claim_id IS 'Identifier of the claim.';
COMMENT ON COLUMN dashboard.review_claims.check_id IS 'Identifier of the check.';
COMMENT ON COLUMN dashboard.review_claims.moderator IS 'Moderator to whom the check was given.';
COMMENT ON COLUMN dashboard.review_claims.kind IS 'first, second or third review, or golden for an item whose answer is known. Moderators are not told.';
COMMENT ON COLUMN dashboard.review_claims.claimed_at IS 'When it was given.';
COMMENT ON COLUMN dashboard.review_claims.ended_at IS 'When the claim ended; null while it is held.';
COMMENT ON COLUMN dashboard.review_claims.outcome IS 'decided, skipped, released, expired or withdrawn (somebody else decided without a claim); null while it is held.';
COMMENT ON COLUMN dashboard.review_claims.seconds IS 'Seconds for which it was held; null while it is.';
COMMENT ON COLUMN dashboard.review_claims.reason IS 'Why it was skipped.';
COMMENT ON COLUMN dashboard.review_claims.extensions IS 'Number of times that it was extended.';

-- What moderators' tools call. No function tells what anybody else decided about a check.

CREATE FUNCTION dashboard.record_review(check_id uuid, decision text, reviewer text, note text DEFAULT NULL)
RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT susy.record_decision($1, $2, $3, $4, NULL, NULL);
$$;

CREATE FUNCTION dashboard.decide_claim(claim_id uuid, moderator text, decision text, note text DEFAULT NULL)
RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT susy.record_decision(
        (SELECT c.check_id FROM susy.review_claims AS c WHERE c.claim_id = $1 AND c.action = 'claimed'),
        $3, $2, $4, $1, NULL
    );
$$;

CREATE FUNCTION dashboard.undo_review(review_id uuid, reviewer text, reason text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who text := susy.person(reviewer, 'an undo says by whom and why');
    answer susy.golden_answers;
BEGIN
    IF coalesce(reason, '') !~ '\S' THEN
        RAISE EXCEPTION 'an undo says by whom and why' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT g.* INTO answer FROM susy.golden_answers AS g
    WHERE g.id = undo_review.review_id AND g.moderator = who AND g.decision IS NOT NULL;
    IF answer.id IS NOT NULL THEN
        INSERT INTO susy.golden_answers (id, check_id, moderator, note, undoes)
        VALUES (gen_random_uuid(), answer.check_id, who, undo_review.reason, answer.id)
        ON CONFLICT (undoes) DO NOTHING;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'review % was undone before', undo_review.review_id USING ERRCODE = 'SY004';
        END IF;
    ELSIF EXISTS (
        SELECT FROM susy.reviews AS r WHERE r.id = undo_review.review_id AND r.reviewer = who AND r.batch_id IS NULL
    ) THEN
        PERFORM susy.undo_reviews(undo_review.review_id, who, undo_review.reason);
    ELSE
        RAISE EXCEPTION '% gave no review with the id %', who, undo_review.review_id USING ERRCODE = 'SY003';
    END IF;
END
$$;

CREATE FUNCTION dashboard.claim_next_review(
    moderator text, filters jsonb DEFAULT '{}', seconds integer DEFAULT 600
)
RETURNS TABLE (
    claim_id uuid, claimed_until timestamp with time zone, check_id uuid, source text, external_id text, uri text,
    lane text, attributes jsonb, why text, decision text, score double precision, generator text,
    generator_confidence double precision, reasons text[], regions jsonb, width integer, height integer,
    reviewed_before text
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT * FROM susy.claim_review($1, $2, $3, NULL);
END
$$;
CREATE FUNCTION dashboard.held_claims(moderator text)
RETURNS TABLE (
    claim_id uuid, claimed_until timestamp with time zone, check_id uuid, source text, external_id text, uri text,
    lane text, attributes jsonb, why text, decision text, score double precision, generator text,
    generator_confidence double precision, reasons text[], regions jsonb, width integer, height integer,
    reviewed_before text
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who text := susy.person($1, 'a claim names its moderator');
BEGIN
    RETURN QUERY SELECT * FROM susy.shown_claims(ARRAY(
        SELECT o.claim_id FROM susy.open_claims AS o WHERE o.moderator = who
    ));
END
$$;
CREATE FUNCTION dashboard.extend_claim(claim_id uuid, moderator text, seconds integer DEFAULT 600)
RETURNS timestamp with time zone LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims;
    ends timestamp with time zone;
BEGIN
    IF extend_claim.seconds IS NULL OR extend_claim.seconds NOT BETWEEN 1 AND 86400 THEN
        RAISE EXCEPTION 'a claim is for 1 to 86400 seconds' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    held := susy.held_claim(extend_claim.claim_id, extend_claim.moderator);
    ends := clock_timestamp() + make_interval(secs => extend_claim.seconds);
    UPDATE susy.open_claims AS o SET claimed_until = ends WHERE o.claim_id = held.claim_id;
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, claimed_until, created_at)
    VALUES (held.claim_id, held.check_id, held.moderator, held.kind, 'extended', ends, clock_timestamp());
    RETURN ends;
END
$$;

CREATE FUNCTION dashboard.skip_claim(claim_id uuid, moderator text, reason text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims;
BEGIN
    IF coalesce(reason, '') !~ '\S' THEN
        RAISE EXCEPTION 'skipping a check says why' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF susy.claim_ended_by(skip_claim.claim_id, skip_claim.moderator, 'skipped') THEN
        RETURN;
    END IF;
    held := susy.held_claim(skip_claim.claim_id, skip_claim.moderator);
    DELETE FROM susy.open_claims AS o WHERE o.claim_id = held.claim_id;
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, reason, created_at)
    VALUES (held.claim_id, held.check_id, held.moderator, held.kind, 'skipped', btrim(skip_claim.reason), clock_timestamp());
END
$$;

CREATE FUNCTION dashboard.release_claim(claim_id uuid, moderator text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims;
BEGIN
    IF susy.claim_ended_by(release_claim.claim_id, release_claim.moderator, 'released') THEN
        RETURN;
    END IF;
    held := susy.held_claim(release_claim.claim_id, release_claim.moderator);
    DELETE FROM susy.open_claims AS o WHERE o.claim_id = held.claim_id;
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, created_at)
    VALUES (held.claim_id, held.check_id, held.moderator, held.kind, 'released', clock_timestamp());
END
$$;

CREATE FUNCTION dashboard.claimed_map(claim_id uuid, moderator text)
RETURNS bytea LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims := susy.held_claim(claimed_map.claim_id, claimed_map.moderator);
BEGIN
    RETURN (
        SELECT s.map_png FROM susy.verdicts AS v JOIN susy.scans AS s ON s.id = v.scan_id
        WHERE v.check_id = held.check_id AND v.mode = 'live'
    );
END
$$;

REVOKE ALL ON FUNCTION
    dashboard.record_review, dashboard.decide_claim, dashboard.undo_review, dashboard.claim_next_review,
    dashboard.held_claims, dashboard.extend_claim, dashboard.skip_claim, dashboard.release_claim, dashboard.claimed_map
FROM PUBLIC;
COMMENT ON FUNCTION dashboard.record_review IS 'Stores a person''s decision about a check that has ended, ends that person''s claim on it, and returns the id of the review. Reviews are only added; the latest overrides the verdict.';
COMMENT ON FUNCTION dashboard.decide_claim IS 'Decides about a check that the moderator has claimed, and returns the id of the review. Refused when the claim has ended and the check was given to others. A repeated call returns the same review.';
COMMENT ON FUNCTION dashboard.undo_review IS 'Undoes a review by the same reviewer; an earlier one counts again.';
COMMENT ON FUNCTION dashboard.claim_next_review IS 'Gives a moderator the next check to review, for a time in seconds; returns no row when none waits. Nobody else is given the check, or the same image, before the claim ends.';
COMMENT ON FUNCTION dashboard.held_claims IS 'The claims that a moderator holds, the one that ends first at the top. A claim that has expired is included while its check was given to nobody else.';
COMMENT ON FUNCTION dashboard.extend_claim IS 'Extends a claim to a time in seconds from now, and returns when it ends.';
COMMENT ON FUNCTION dashboard.skip_claim IS 'Returns a check without a decision, for a stated reason; it is given to others.';
COMMENT ON FUNCTION dashboard.release_claim IS 'Returns a check without a decision.';
COMMENT ON FUNCTION dashboard.claimed_map IS 'The localization map of a check that the moderator has claimed, as the bytes of a PNG file; null without one.';

CREATE VIEW dashboard.rejected_messages AS
SELECT id, received_at, task, code, message, body FROM susy.rejected_messages;

COMMENT ON VIEW dashboard.rejected_messages IS 'Messages from the queue from which no check could be made.';
COMMENT ON COLUMN dashboard.rejected_messages.id IS 'Ascending number.';
COMMENT ON COLUMN dashboard.rejected_messages.received_at IS 'When the message was received.';
COMMENT ON COLUMN dashboard.rejected_messages.task IS 'Name of the Celery task it was sent to.';
COMMENT ON COLUMN dashboard.rejected_messages.code IS 'Stable name of the fault.';
COMMENT ON COLUMN dashboard.rejected_messages.message IS 'One-line description of the fault.';
COMMENT ON COLUMN dashboard.rejected_messages.body IS 'First bytes of the message, at most 4096. They come from its sender: display them as text only.';

CREATE VIEW dashboard.endpoints AS
SELECT
    e.name,
    split_part(e.url, '?', 1) AS url,
    e.sources,
    e.allow_private,
    e.created_at,
    e.disabled_at,
    e.disabled_reason,
    e.failures,
    e.open_until,
    keys.signatures,
    waiting.pending,
    waiting.oldest_pending_at,
    (SELECT count(*) FROM susy.deliveries AS d WHERE d.endpoint_id = e.id AND d.state = 'failed') AS failed
FROM susy.endpoints AS e
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(DISTINCT k.kind ORDER BY k.kind), '{}') AS signatures
    FROM susy.endpoint_keys AS k
    WHERE k.endpoint_id = e.id AND (k.expires_at IS NULL OR k.expires_at > now())
) AS keys
CROSS JOIN LATERAL (
    SELECT count(*) AS pending, min(d.created_at) AS oldest_pending_at
    FROM susy.deliveries AS d WHERE d.endpoint_id = e.id AND d.state = 'pending'
) AS waiting;

COMMENT ON VIEW dashboard.endpoints IS 'Endpoints of callbacks, and their condition.';
COMMENT ON COLUMN dashboard.endpoints.name IS 'The name that `susy endpoint add` gave it.';
COMMENT ON COLUMN dashboard.endpoints.url IS 'Where callbacks are sent, without the query of the URL, which may be secret.';
COMMENT ON COLUMN dashboard.endpoints.sources IS 'The sources whose checks are sent here; empty when submissions name the endpoint.';
COMMENT ON COLUMN dashboard.endpoints.allow_private IS 'Whether it may be on a private network, and without TLS.';
COMMENT ON COLUMN dashboard.endpoints.created_at IS 'When it was added.';
COMMENT ON COLUMN dashboard.endpoints.disabled_at IS 'When it was disabled; null while callbacks are sent to it.';
COMMENT ON COLUMN dashboard.endpoints.disabled_reason IS 'Why it was disabled.';
COMMENT ON COLUMN dashboard.endpoints.failures IS 'Number of consecutive failed attempts; 0 after a success.';
COMMENT ON COLUMN dashboard.endpoints.open_until IS 'Time until which nothing is sent because of these failures; null after a success.';
COMMENT ON COLUMN dashboard.endpoints.signatures IS 'The kinds of its keys: hmac, ed25519.';
COMMENT ON COLUMN dashboard.endpoints.pending IS 'Number of callbacks that wait or are being sent.';
COMMENT ON COLUMN dashboard.endpoints.oldest_pending_at IS 'When the oldest event that still waits was written; null if none waits.';
COMMENT ON COLUMN dashboard.endpoints.failed IS 'Number of callbacks that have used up their attempts and wait for an operator to retry them.';

CREATE VIEW dashboard.callbacks AS
SELECT
    'evt_' || replace(d.check_id::text, '-', '') || '_' || d.event_id AS id,
    e.name AS endpoint,
    d.check_id,
    c.source,
    c.external_id,
    v.type,
    d.state,
    d.attempts,
    d.created_at,
    d.next_attempt_at,
    d.attempted_at,
    d.finished_at,
    d.status,
    d.error_code,
    d.error_message
FROM susy.deliveries AS d
JOIN susy.endpoints AS e ON e.id = d.endpoint_id
JOIN susy.events AS v ON v.id = d.event_id
JOIN susy.checks AS c ON c.id = d.check_id;

COMMENT ON VIEW dashboard.callbacks IS 'One row per event and per endpoint that it is sent to.';
COMMENT ON COLUMN dashboard.callbacks.id IS 'The header webhook-id, the same in every attempt.';
COMMENT ON COLUMN dashboard.callbacks.endpoint IS 'Name of the endpoint.';
COMMENT ON COLUMN dashboard.callbacks.check_id IS 'Identifier of the check.';
COMMENT ON COLUMN dashboard.callbacks.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.callbacks.external_id IS 'The platform''s own id of the upload.';
COMMENT ON COLUMN dashboard.callbacks.type IS 'What happened: image.verdict.created, image.verdict.changed, image.check.quarantined, image.check.cancelled, image.check.expired or image.review.created.';
COMMENT ON COLUMN dashboard.callbacks.state IS 'pending, delivered, failed (all attempts) or superseded (by a newer event of the check).';
COMMENT ON COLUMN dashboard.callbacks.attempts IS 'Number of attempts that have begun.';
COMMENT ON COLUMN dashboard.callbacks.created_at IS 'When the event was given to the endpoint.';
COMMENT ON COLUMN dashboard.callbacks.next_attempt_at IS 'When the next attempt is due, while it is pending.';
COMMENT ON COLUMN dashboard.callbacks.attempted_at IS 'When the latest attempt began.';
COMMENT ON COLUMN dashboard.callbacks.finished_at IS 'When it was delivered, failed or superseded; null before.';
COMMENT ON COLUMN dashboard.callbacks.status IS 'HTTP status of the latest answer; null when there was none.';
COMMENT ON COLUMN dashboard.callbacks.error_code IS 'Stable name of the latest failure; null once delivered.';
COMMENT ON COLUMN dashboard.callbacks.error_message IS 'One-line description of the latest failure.';

CREATE VIEW dashboard.policies AS
SELECT
    p.name,
    p.version,
    p.document,
    p.created_at,
    coalesce(now.configuration -> 'active' ->> p.name = p.version, false) AS is_active,
    coalesce((
        SELECT coalesce((shadow ->> 'sample')::double precision, 1)
        FROM jsonb_array_elements(now.configuration -> 'shadows') AS shadow
        WHERE shadow ->> 'name' = p.name AND shadow ->> 'version' = p.version
    ), 0) AS shadow_sample
FROM susy.policies AS p
LEFT JOIN LATERAL (
    SELECT configuration FROM susy.policy_revisions ORDER BY revision DESC LIMIT 1
) AS now ON true;

COMMENT ON VIEW dashboard.policies IS 'Every version of every policy that has been stored or has decided.';
COMMENT ON COLUMN dashboard.policies.name IS 'Name of the policy.';
COMMENT ON COLUMN dashboard.policies.version IS 'Its version, derived from its content.';
COMMENT ON COLUMN dashboard.policies.document IS 'The whole policy, every key written out.';
COMMENT ON COLUMN dashboard.policies.created_at IS 'When it was stored.';
COMMENT ON COLUMN dashboard.policies.is_active IS 'Whether it is the active version of its name. Workers with policy files of their own may decide by others.';
COMMENT ON COLUMN dashboard.policies.shadow_sample IS 'Share of the contents that it decides about in shadow, 0 to 1.';

CREATE VIEW dashboard.policy_history AS
SELECT revision, change, changed_by, reason, changed_at, configuration FROM susy.policy_revisions;

COMMENT ON VIEW dashboard.policy_history IS 'Every change of what decides: activations, routes, shadows. Rows are only added.';
COMMENT ON COLUMN dashboard.policy_history.revision IS 'Number of the configuration that the change led to; the highest applies.';
COMMENT ON COLUMN dashboard.policy_history.change IS 'Description of the change.';
COMMENT ON COLUMN dashboard.policy_history.changed_by IS 'Person who changed it.';
COMMENT ON COLUMN dashboard.policy_history.reason IS 'Reason for the change.';
COMMENT ON COLUMN dashboard.policy_history.changed_at IS 'Time of the change.';
COMMENT ON COLUMN dashboard.policy_history.configuration IS 'The active versions, the routes in their order, the default policy and the shadows.';

CREATE VIEW dashboard.shadow_differences AS
SELECT
    c.id,
    c.source,
    c.created_at,
    s.created_at AS decided_at,
    s.policy_name AS shadow_policy,
    s.policy_version AS shadow_version,
    s.decision AS shadow_decision,
    s.score AS shadow_score,
    l.policy_name AS policy,
    l.policy_version,
    l.decision,
    l.score,
    l.generator
FROM susy.verdicts AS s
JOIN susy.verdicts AS l ON l.check_id = s.check_id AND l.mode = 'live'
JOIN susy.checks AS c ON c.id = s.check_id
WHERE s.mode = 'shadow' AND s.decision <> l.decision;

COMMENT ON VIEW dashboard.shadow_differences IS 'Checks on which a policy in shadow and the live one decide differently.';
COMMENT ON COLUMN dashboard.shadow_differences.id IS 'Identifier of the check.';
COMMENT ON COLUMN dashboard.shadow_differences.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.shadow_differences.created_at IS 'When the check was accepted.';
COMMENT ON COLUMN dashboard.shadow_differences.decided_at IS 'When the shadow verdict was recorded.';
COMMENT ON COLUMN dashboard.shadow_differences.shadow_policy IS 'Name of the policy that runs in shadow.';
COMMENT ON COLUMN dashboard.shadow_differences.shadow_version IS 'Version of that policy.';
COMMENT ON COLUMN dashboard.shadow_differences.shadow_decision IS 'Decision that it would make: authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.shadow_differences.shadow_score IS 'Score under its aggregation, 0 to 1.';
COMMENT ON COLUMN dashboard.shadow_differences.policy IS 'Name of the policy that decided.';
COMMENT ON COLUMN dashboard.shadow_differences.policy_version IS 'Version of that policy.';
COMMENT ON COLUMN dashboard.shadow_differences.decision IS 'Decision of that policy.';
COMMENT ON COLUMN dashboard.shadow_differences.score IS 'Score under its aggregation, 0 to 1.';
COMMENT ON COLUMN dashboard.shadow_differences.generator IS 'The generator that it named.';

CREATE VIEW dashboard.policy_applications AS
SELECT
    id, policy_name AS policy, policy_version, filter, applied_by, reason, started_at, updated_at, finished_at, replaced,
    changed, undoes
FROM susy.policy_applications;

COMMENT ON VIEW dashboard.policy_applications IS 'Every time a policy was applied to checks that were decided before (`susy policy apply`), or that was undone (`susy policy undo`).';
COMMENT ON COLUMN dashboard.policy_applications.id IS 'Number of the application.';
COMMENT ON COLUMN dashboard.policy_applications.policy IS 'Name of the policy that was applied, or whose application was undone.';
COMMENT ON COLUMN dashboard.policy_applications.policy_version IS 'Version of that policy.';
COMMENT ON COLUMN dashboard.policy_applications.filter IS 'Filter that selected the checks: since, source, decided_by, and whether reviewed ones were included.';
COMMENT ON COLUMN dashboard.policy_applications.applied_by IS 'Person who applied it.';
COMMENT ON COLUMN dashboard.policy_applications.reason IS 'Reason for the application; null if none was given.';
COMMENT ON COLUMN dashboard.policy_applications.started_at IS 'When it began.';
COMMENT ON COLUMN dashboard.policy_applications.updated_at IS 'When its latest batch was written.';
COMMENT ON COLUMN dashboard.policy_applications.finished_at IS 'When it ended; null while it runs, or when it was interrupted.';
COMMENT ON COLUMN dashboard.policy_applications.replaced IS 'Verdicts that it replaced, as a number of checks.';
COMMENT ON COLUMN dashboard.policy_applications.changed IS 'Those among them whose decision changed, each with an event.';
COMMENT ON COLUMN dashboard.policy_applications.undoes IS 'The application that it undoes; null where it applies a policy.';

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
    v.application_id AS application,
    v.restores
FROM susy.verdicts AS v
JOIN susy.checks AS c ON c.id = v.check_id
JOIN susy.scans AS s ON s.id = v.scan_id;

COMMENT ON VIEW dashboard.verdicts IS 'Every verdict of every check: the live one, those of policies in shadow, and those that a later decision replaced. Select by check_id, which has an index.';
COMMENT ON COLUMN dashboard.verdicts.id IS 'Identifier of the verdict.';
COMMENT ON COLUMN dashboard.verdicts.check_id IS 'Identifier of the check.';
COMMENT ON COLUMN dashboard.verdicts.source IS 'The surface or service that submitted the check.';
COMMENT ON COLUMN dashboard.verdicts.mode IS 'live: it decides; shadow: it has no effect; superseded: another one replaced it.';
COMMENT ON COLUMN dashboard.verdicts.decided_at IS 'When it was recorded.';
COMMENT ON COLUMN dashboard.verdicts.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.verdicts.score IS 'Probability that the image is synthetic, 0 to 1; null when no tile could be scored.';
COMMENT ON COLUMN dashboard.verdicts.class_scores IS 'Probability of each class, 0 to 1, as an object that maps names to numbers.';
COMMENT ON COLUMN dashboard.verdicts.generator IS 'The most probable generator when one leads clearly, otherwise unknown_generator; null when authentic or not scored.';
COMMENT ON COLUMN dashboard.verdicts.generator_confidence IS 'Share of the synthetic probability that its most probable generator holds, 0 to 1; null without a generator.';
COMMENT ON COLUMN dashboard.verdicts.reasons IS 'Codes of the reasons for the decision, such as between_thresholds.';
COMMENT ON COLUMN dashboard.verdicts.needs_review IS 'Whether the policy asks for a review.';
COMMENT ON COLUMN dashboard.verdicts.regions IS 'Parts of the image that look synthetic, the strongest first: an array of objects with the columns of dashboard.regions.';
COMMENT ON COLUMN dashboard.verdicts.policy IS 'Name of the policy that decided.';
COMMENT ON COLUMN dashboard.verdicts.policy_version IS 'Version of the policy that decided.';
COMMENT ON COLUMN dashboard.verdicts.model IS 'Name of the detector.';
COMMENT ON COLUMN dashboard.verdicts.model_sha256 IS 'Digest of the detector''s weights.';
COMMENT ON COLUMN dashboard.verdicts.is_demo IS 'True when scored by the demonstration weights, which must not be used for decisions.';
COMMENT ON COLUMN dashboard.verdicts.audit_rate IS 'Probability with which the content was drawn for an audit, above 0 and up to 1; null when it was not drawn.';
COMMENT ON COLUMN dashboard.verdicts.superseded_at IS 'When another verdict replaced it; null unless superseded.';
COMMENT ON COLUMN dashboard.verdicts.application IS 'The `susy policy apply` or `undo` that recorded it, as dashboard.policy_applications.id; null for a verdict of a worker.';
COMMENT ON COLUMN dashboard.verdicts.restores IS 'Verdict of which this is a copy, restored by `susy policy undo`; null otherwise.';

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

COMMENT ON VIEW dashboard.throughput_by_minute IS 'Number of checks that were accepted and that ended, per minute and lane, for the last 1440 minutes. Only the minutes that a query selects are counted.';
COMMENT ON COLUMN dashboard.throughput_by_minute.minute IS 'When the minute begins; the latest one is not complete yet.';
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

COMMENT ON VIEW dashboard.decisions_by_source_day IS 'Number of checks per day by live verdict. Reviews do not change it, a later decision does; checks that were pruned stay counted.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.day IS 'The day, in UTC, on which the checks were accepted.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.source IS 'The surface or service that submitted them.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.policy IS 'Name of the policy that decided.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.is_demo IS 'True when scored by the demonstration weights, which must not be used for decisions.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.checks IS 'Number of checks.';
COMMENT ON COLUMN dashboard.decisions_by_source_day.needs_review IS 'Number of these that the policy requires a review of.';

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

COMMENT ON VIEW dashboard.generators_by_day IS 'Number of checks per day by the generator that the live verdict names; checks without a generator are left out, and checks that were pruned stay counted.';
COMMENT ON COLUMN dashboard.generators_by_day.day IS 'The day, in UTC, on which the checks were accepted.';
COMMENT ON COLUMN dashboard.generators_by_day.source IS 'The surface or service that submitted them.';
COMMENT ON COLUMN dashboard.generators_by_day.is_demo IS 'True when scored by the demonstration weights, which must not be used for decisions.';
COMMENT ON COLUMN dashboard.generators_by_day.generator IS 'Name of the generator, or unknown_generator.';
COMMENT ON COLUMN dashboard.generators_by_day.checks IS 'Number of checks, whatever was decided about them.';
COMMENT ON COLUMN dashboard.generators_by_day.synthetic IS 'Number of these whose decision is synthetic.';

CREATE VIEW susy.decision_categories AS
SELECT
    c.day, c.source, c.weights_sha256, c.precision, c.tiling, m.measure, m.policy, m.policy_version, m.aggregate,
    m.category, sum(c.checks)::bigint AS checks
FROM (
    SELECT
        day, source, weights_sha256, precision, tiling, policy_name, policy_version, decision, generator, score_bin,
        checks
    FROM susy.decision_counts
    UNION ALL
    SELECT
        day, source, weights_sha256, precision, tiling, policy_name, policy_version, decision, generator, score_bin,
        checks
    FROM susy.decision_changes
) AS c
LEFT JOIN susy.policies AS p ON p.name = c.policy_name AND p.version = c.policy_version
CROSS JOIN LATERAL (VALUES
    (
        'score', NULL, NULL,
        CASE p.document ->> 'aggregate'
            WHEN 'trimmed_mean' THEN concat_ws(' ', 'trimmed_mean', p.document ->> 'trim_fraction')
            WHEN 'top_fraction' THEN concat_ws(' ', 'top_fraction', p.document ->> 'top_fraction')
            ELSE coalesce(p.document ->> 'aggregate', 'mean')
        END,
        c.score_bin::text
    ),
    ('decision', c.policy_name, c.policy_version, NULL, c.decision),
    ('generator', c.policy_name, c.policy_version, NULL, c.generator)
) AS m (measure, policy, policy_version, aggregate, category)
WHERE m.measure <> 'score' OR c.score_bin >= 0
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;

CREATE VIEW susy.drift_comparisons AS
WITH weekly AS MATERIALIZED (
    SELECT
        day - (day - date '1970-01-05') % 7 AS week, source, weights_sha256, precision, tiling, policy_name,
        policy_version, decision, generator, score_bin, sum(checks::double precision) AS checks
    FROM (
        SELECT
            day, source, weights_sha256, precision, tiling, policy_name, policy_version, decision, generator,
            score_bin, checks
        FROM susy.decision_counts WHERE day >= date_trunc('week', now() AT TIME ZONE 'UTC')::date - 112
        UNION ALL
        SELECT
            day, source, weights_sha256, precision, tiling, policy_name, policy_version, decision, generator,
            score_bin, checks
        FROM susy.decision_changes WHERE day >= date_trunc('week', now() AT TIME ZONE 'UTC')::date - 112
    ) AS counted
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
), listed AS (
    SELECT
        -- One short key for everything that must be the same in two weeks that are compared.
        md5(ROW(
            m.measure, w.source, w.weights_sha256, w.precision, w.tiling, m.policy, m.policy_version, m.aggregate
        )::text)::uuid AS same,
        w.week, w.source, w.weights_sha256, w.precision, w.tiling, m.measure, m.policy, m.policy_version, m.aggregate,
        m.category, w.checks
    FROM weekly AS w
    LEFT JOIN susy.policies AS p ON p.name = w.policy_name AND p.version = w.policy_version
    CROSS JOIN LATERAL (VALUES
        (
            'score', NULL, NULL,
            CASE p.document ->> 'aggregate'
                WHEN 'trimmed_mean' THEN concat_ws(' ', 'trimmed_mean', p.document ->> 'trim_fraction')
                WHEN 'top_fraction' THEN concat_ws(' ', 'top_fraction', p.document ->> 'top_fraction')
                ELSE coalesce(p.document ->> 'aggregate', 'mean')
            END,
            w.score_bin::text
        ),
        ('decision', w.policy_name, w.policy_version, NULL, w.decision),
        ('generator', w.policy_name, w.policy_version, NULL, w.generator)
    ) AS m (measure, policy, policy_version, aggregate, category)
    WHERE m.measure <> 'score' OR w.score_bin >= 0
), categories AS MATERIALIZED (
    SELECT
        same, week, category, sum(checks) AS checks, min(source) AS source, min(weights_sha256) AS weights_sha256,
        min(precision) AS precision, min(tiling) AS tiling, min(measure) AS measure, min(policy) AS policy,
        min(policy_version) AS policy_version, min(aggregate) AS aggregate
    FROM listed GROUP BY same, week, category
), weeks AS (
    SELECT
        same, week, min(source) AS source, min(weights_sha256) AS weights_sha256, min(precision) AS precision,
        min(tiling) AS tiling, min(measure) AS measure, min(policy) AS policy, min(policy_version) AS policy_version,
        min(aggregate) AS aggregate
    FROM categories
    WHERE week >= date_trunc('week', now() AT TIME ZONE 'UTC')::date - 84
    GROUP BY same, week
    -- Of a policy version whose verdicts were all replaced, nothing is left of the week.
    HAVING sum(checks) > 0
), compared AS (
    SELECT
        w.same, w.week, c.category,
        coalesce(sum(c.checks) FILTER (WHERE c.week = w.week), 0)::double precision AS seen,
        coalesce(sum(c.checks) FILTER (WHERE c.week < w.week), 0)::double precision AS before
    FROM weeks AS w JOIN categories AS c ON c.same = w.same AND c.week BETWEEN w.week - 28 AND w.week
    GROUP BY w.same, w.week, c.category
    HAVING sum(c.checks) > 0
), totalled AS (
    SELECT *, sum(seen) OVER pair AS all_seen, sum(before) OVER pair AS all_before, count(*) OVER pair AS kinds
    FROM compared
    WINDOW pair AS (PARTITION BY same, week)
), placed AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY same, week
            ORDER BY seen / nullif(all_seen, 0) - before / nullif(all_before, 0) DESC NULLS LAST, category
        ) AS place
    FROM totalled
), pooled AS (
    SELECT
        same, week, all_seen, all_before,
        CASE
            WHEN (seen + before) * least(all_seen, all_before) >= 5 * (all_seen + all_before) THEN category
        END AS kind,
        sum(seen) AS seen, sum(before) AS before,
        sum(
            ((seen + 0.5) / (all_seen + 0.5 * kinds) - (before + 0.5) / (all_before + 0.5 * kinds))
            * ln((seen + 0.5) * (all_before + 0.5 * kinds) / ((before + 0.5) * (all_seen + 0.5 * kinds)))
        ) AS psi,
        min(category) FILTER (WHERE place = 1) AS risen,
        min(seen / nullif(all_seen, 0)) FILTER (WHERE place = 1) AS risen_share,
        min(before / nullif(all_before, 0)) FILTER (WHERE place = 1) AS risen_before
    FROM placed
    GROUP BY 1, 2, 3, 4, 5
), tested AS (
    SELECT
        same, week, all_seen, all_before, sum(psi) AS psi, count(*) - 1 AS degrees,
        min(risen) AS risen, min(risen_share) AS risen_share, min(risen_before) AS risen_before,
        CASE WHEN all_seen >= 200 AND all_before >= 200 THEN sum(
            (seen * all_before - before * all_seen) ^ 2 / nullif((seen + before) * all_seen * all_before, 0)
        ) END AS chi_squared
    FROM pooled
    GROUP BY 1, 2, 3, 4
), judged AS (
    SELECT *, susy.chi_squared_tail(chi_squared, degrees::integer) AS p_value FROM tested
), ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY week, p_value IS NULL ORDER BY p_value) AS rank,
        count(p_value) OVER (PARTITION BY week) AS tests
    FROM judged
), adjusted AS (
    SELECT
        *,
        CASE WHEN p_value IS NOT NULL THEN
            least(1, min(p_value * tests / rank) OVER (PARTITION BY week, p_value IS NULL ORDER BY rank DESC))
        END AS adjusted_p_value
    FROM ranked
)
SELECT
    a.week,
    w.source,
    w.measure,
    w.weights_sha256 AS model_sha256,
    w.precision,
    w.tiling,
    w.policy,
    w.policy_version,
    w.aggregate,
    a.all_seen::bigint AS checks,
    a.all_before::bigint AS reference_checks,
    CASE WHEN a.p_value IS NOT NULL THEN a.psi END AS psi,
    a.chi_squared,
    CASE WHEN a.p_value IS NOT NULL THEN a.degrees::integer END AS degrees_of_freedom,
    a.p_value,
    a.adjusted_p_value,
    CASE
        WHEN a.all_before = 0 AND EXISTS (
            SELECT FROM categories AS c
            WHERE c.source = w.source AND c.measure = w.measure AND c.week BETWEEN a.week - 28 AND a.week - 7
        ) THEN 'incomparable'
        WHEN a.all_before = 0 THEN 'new_source'
        WHEN a.p_value IS NULL THEN 'too_few'
        WHEN a.adjusted_p_value < 0.01 AND a.psi >= 0.02 THEN 'drifted'
        ELSE 'stable'
    END AS status,
    CASE WHEN a.p_value IS NOT NULL THEN a.risen END AS risen,
    CASE WHEN a.p_value IS NOT NULL THEN a.risen_share END AS risen_share,
    CASE WHEN a.p_value IS NOT NULL THEN a.risen_before END AS risen_reference_share
FROM adjusted AS a
JOIN weeks AS w ON w.same = a.same AND w.week = a.week;

COMMENT ON VIEW susy.drift_comparisons IS 'For each of the last 13 weeks and each source, how the scores, decisions and generators of its checks differ from those of the four weeks before. Only what was measured by the same weights in the same precision and tiling is compared, and decided by the same version of a policy. Checks that were pruned stay counted.';
COMMENT ON COLUMN susy.drift_comparisons.week IS 'Monday of the week, in UTC, in which the checks were accepted; the latest week may not be complete.';
COMMENT ON COLUMN susy.drift_comparisons.source IS 'The surface or service that submitted them.';
COMMENT ON COLUMN susy.drift_comparisons.measure IS 'What is compared: score (a histogram of 22 bins), decision, or generator.';
COMMENT ON COLUMN susy.drift_comparisons.model_sha256 IS 'Digest of the detector''s weights.';
COMMENT ON COLUMN susy.drift_comparisons.precision IS 'Precision in which the network computed: float32, bfloat16 or float16.';
COMMENT ON COLUMN susy.drift_comparisons.tiling IS 'Grid and stride of the tiles, such as coverage-224.';
COMMENT ON COLUMN susy.drift_comparisons.policy IS 'Name of the policy that decided; null for scores, which do not depend on its thresholds.';
COMMENT ON COLUMN susy.drift_comparisons.policy_version IS 'Version of the policy that decided; null for scores.';
COMMENT ON COLUMN susy.drift_comparisons.aggregate IS 'For scores: how the policies aggregate the scores of tiles; null otherwise.';
COMMENT ON COLUMN susy.drift_comparisons.checks IS 'Number of checks in the week; for scores, of those that have one.';
COMMENT ON COLUMN susy.drift_comparisons.reference_checks IS 'Number of checks in the four weeks before.';
COMMENT ON COLUMN susy.drift_comparisons.psi IS 'Population stability index: 0 when the shares of all categories are the same; 0.1 is by convention a moderate change, 0.25 a large one. Null with too few checks.';
COMMENT ON COLUMN susy.drift_comparisons.chi_squared IS 'Statistic of the chi-squared test of homogeneity; categories with fewer than five expected checks are taken together. Null with fewer than 200 checks in the week or in the reference.';
COMMENT ON COLUMN susy.drift_comparisons.degrees_of_freedom IS 'Degrees of freedom of that test.';
COMMENT ON COLUMN susy.drift_comparisons.p_value IS 'The probability, 0 to 1, of a statistic at least this large when nothing has changed.';
COMMENT ON COLUMN susy.drift_comparisons.adjusted_p_value IS 'p_value corrected by Benjamini and Hochberg for all tests of the week.';
COMMENT ON COLUMN susy.drift_comparisons.status IS 'drifted (adjusted p-value below 0.01 and psi at least 0.02), stable, too_few (no test), incomparable (the weeks before have only other weights, precisions, tilings or policy versions) or new_source (they have nothing).';
COMMENT ON COLUMN susy.drift_comparisons.risen IS 'The category whose share has risen most: the number of a bin of scores, a decision, or a generator (empty for checks without one).';
COMMENT ON COLUMN susy.drift_comparisons.risen_share IS 'Share of that category in the week, 0 to 1.';
COMMENT ON COLUMN susy.drift_comparisons.risen_reference_share IS 'Share of that category in the four weeks before, 0 to 1.';

CREATE VIEW dashboard.arrivals AS
WITH counted AS MATERIALIZED (
    SELECT source, day, sum(checks)::bigint AS checks
    FROM (
        SELECT source, day, checks FROM susy.decision_counts
        WHERE day >= (now() AT TIME ZONE 'UTC')::date - 141
        UNION ALL
        SELECT source, day, checks FROM susy.decision_changes
        WHERE day >= (now() AT TIME ZONE 'UTC')::date - 141
    ) AS c
    GROUP BY source, day
    HAVING sum(checks) > 0
), known AS (
    SELECT
        d.source, a.last_check_at,
        -- Checks that no policy has decided about yet have arrived too. Those that were pruned are only counted.
        greatest(d.day, (a.last_check_at AT TIME ZONE 'UTC')::date) AS last_day
    FROM (SELECT source, max(day) AS day FROM counted GROUP BY source) AS d
    LEFT JOIN LATERAL (
        SELECT created_at AS last_check_at FROM susy.checks WHERE checks.source = d.source
        ORDER BY created_at DESC LIMIT 1
    ) AS a ON true
), latest AS (
    -- The twelve weeks before the source's last day, or since its first day.
    SELECT k.source, k.last_check_at, k.last_day, min(c.day) AS first_day
    FROM known AS k LEFT JOIN counted AS c ON c.source = k.source AND c.day >= k.last_day - 84
    WHERE k.last_day >= (now() AT TIME ZONE 'UTC')::date - 56
    GROUP BY k.source, k.last_check_at, k.last_day
), history AS (
    SELECT l.source, d.day::date AS day, extract(isodow FROM d.day) AS weekday, coalesce(c.checks, 0) AS checks
    FROM latest AS l
    CROSS JOIN LATERAL generate_series(
        l.first_day::timestamp, l.last_day::timestamp - interval '1 day', '1 day'
    ) AS d (day)
    LEFT JOIN counted AS c ON c.source = l.source AND c.day = d.day::date
), weekdays AS (
    SELECT source, weekday FROM history GROUP BY source, weekday HAVING max(checks) > 0
), usual AS (
    SELECT
        source, checks,
        -- Days without checks have the number of the day with checks that they follow.
        count(*) FILTER (WHERE checks > 0) OVER (PARTITION BY source ORDER BY day) AS run
    FROM history JOIN weekdays USING (source, weekday)
), runs AS (
    SELECT
        source, sum(checks) AS checks, count(*) AS days, count(*) FILTER (WHERE checks = 0) AS days_without
    FROM usual
    GROUP BY source, run
), described AS (
    SELECT
        source, sum(checks) / sum(days) AS checks_per_day, sum(days) AS days, sum(days_without) AS days_without,
        max(days_without) AS longest
    FROM runs
    GROUP BY source
), silences AS (
    -- Whole days since then on which the source usually sends.
    SELECT l.source, count(*) AS days
    FROM latest AS l
    CROSS JOIN LATERAL generate_series(
        l.last_day::timestamp + interval '1 day',
        (now() AT TIME ZONE 'UTC')::date::timestamp - interval '1 day', '1 day'
    ) AS d (day)
    JOIN weekdays AS w ON w.source = l.source AND w.weekday = extract(isodow FROM d.day)
    GROUP BY l.source
), judged AS (
    SELECT
        l.source, l.last_check_at, coalesce(h.days, 0) AS days, h.checks_per_day, coalesce(h.longest, 0) AS longest,
        coalesce(s.days, 0) AS silent_days,
        -- The probability that so many further days in sequence are without checks, when each day is, with the same
        -- unknown probability, independently of the others (beta-binomial, with Jeffreys' prior).
        CASE WHEN h.days >= 14 THEN (
            SELECT coalesce(exp(sum(ln((h.days_without + 0.5 + i) / (h.days + 1.0 + i)))), 1)::double precision
            FROM generate_series(0, s.days - 1) AS i
        ) END AS p_value
    FROM latest AS l
    LEFT JOIN described AS h ON h.source = l.source
    LEFT JOIN silences AS s ON s.source = l.source
), ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY p_value IS NULL ORDER BY p_value) AS rank,
        count(p_value) OVER () AS tests
    FROM judged
), adjusted AS (
    SELECT
        *,
        CASE WHEN p_value IS NOT NULL THEN
            least(1, min(p_value * tests / rank) OVER (PARTITION BY p_value IS NULL ORDER BY rank DESC))
        END AS adjusted_p_value
    FROM ranked
)
SELECT
    source,
    CASE
        WHEN p_value IS NULL THEN 'too_few'
        WHEN adjusted_p_value < 0.01 AND silent_days > longest THEN 'silent'
        ELSE 'stable'
    END AS status,
    last_check_at,
    silent_days::integer AS silent_days,
    longest::integer AS longest_silent_days,
    days::integer AS usual_days,
    checks_per_day::double precision AS checks_per_day,
    p_value,
    adjusted_p_value
FROM adjusted;

COMMENT ON VIEW dashboard.arrivals IS 'For each source, when its last check was accepted, and whether it has stopped sending: one row per source that sent within the last eight weeks. Whole days in UTC are compared with the twelve weeks before the source''s last day. Only the days of the week on which it sent in those weeks count.';
COMMENT ON COLUMN dashboard.arrivals.source IS 'Surface or service that submits.';
COMMENT ON COLUMN dashboard.arrivals.status IS 'silent (adjusted p-value below 0.01, and more silent days than ever in the twelve weeks), stable, or too_few (fewer than 14 days to compare with).';
COMMENT ON COLUMN dashboard.arrivals.last_check_at IS 'When its last check was accepted; null when that check was pruned.';
COMMENT ON COLUMN dashboard.arrivals.silent_days IS 'Whole days since its last check on which it usually sends.';
COMMENT ON COLUMN dashboard.arrivals.longest_silent_days IS 'The longest sequence of such days without checks in the twelve weeks.';
COMMENT ON COLUMN dashboard.arrivals.usual_days IS 'Days in the twelve weeks on which it usually sends, at most 84.';
COMMENT ON COLUMN dashboard.arrivals.checks_per_day IS 'Mean number of its checks on these days; null without such days.';
COMMENT ON COLUMN dashboard.arrivals.p_value IS 'Probability, 0 to 1, of so many silent days in sequence if the source were as before; null with status too_few.';
COMMENT ON COLUMN dashboard.arrivals.adjusted_p_value IS 'p_value corrected by Benjamini and Hochberg for all sources.';

CREATE VIEW dashboard.drift AS
SELECT
    week, source, measure, model_sha256, precision, tiling, policy, policy_version, aggregate, checks, reference_checks,
    psi, chi_squared, degrees_of_freedom, p_value, adjusted_p_value, status, risen, risen_share, risen_reference_share,
    NULL::timestamp with time zone AS last_check_at
FROM susy.drift_comparisons
UNION ALL
SELECT
    date_trunc('week', now() AT TIME ZONE 'UTC')::date, a.source, 'arrivals', NULL, NULL, NULL, NULL, NULL, NULL,
    coalesce(c.checks, 0)::bigint, coalesce(c.reference_checks, 0)::bigint, NULL, NULL, NULL, a.p_value,
    a.adjusted_p_value, a.status, NULL, NULL, NULL, a.last_check_at
FROM dashboard.arrivals AS a
LEFT JOIN (
    SELECT
        source,
        sum(checks) FILTER (WHERE day >= date_trunc('week', now() AT TIME ZONE 'UTC')::date) AS checks,
        sum(checks) FILTER (WHERE day < date_trunc('week', now() AT TIME ZONE 'UTC')::date) AS reference_checks
    FROM (
        SELECT source, day, checks FROM susy.decision_counts
        WHERE day >= date_trunc('week', now() AT TIME ZONE 'UTC')::date - 28
        UNION ALL
        SELECT source, day, checks FROM susy.decision_changes
        WHERE day >= date_trunc('week', now() AT TIME ZONE 'UTC')::date - 28
    ) AS counted
    GROUP BY source
) AS c ON c.source = a.source;

COMMENT ON VIEW dashboard.drift IS 'For each of the last 13 weeks and each source, how the scores, decisions and generators of its checks differ from those of the four weeks before. Only what was measured by the same weights in the same precision and tiling is compared, and decided by the same version of a policy. Checks that were pruned stay counted. In the latest week there is one more row per source, whose measure is arrivals: whether it has stopped sending (dashboard.arrivals).';
COMMENT ON COLUMN dashboard.drift.week IS 'Monday of the week, in UTC, in which the checks were accepted; the latest week may not be complete.';
COMMENT ON COLUMN dashboard.drift.source IS 'The surface or service that submitted them.';
COMMENT ON COLUMN dashboard.drift.measure IS 'What is compared: score (a histogram of 22 bins), decision, generator, or arrivals (whether checks arrive as usual).';
COMMENT ON COLUMN dashboard.drift.model_sha256 IS 'Digest of the detector''s weights; null for arrivals, as the next two columns.';
COMMENT ON COLUMN dashboard.drift.precision IS 'Precision in which the network computed: float32, bfloat16 or float16.';
COMMENT ON COLUMN dashboard.drift.tiling IS 'Grid and stride of the tiles, such as coverage-224.';
COMMENT ON COLUMN dashboard.drift.policy IS 'Name of the policy that decided; null for scores, which do not depend on its thresholds.';
COMMENT ON COLUMN dashboard.drift.policy_version IS 'Version of the policy that decided; null for scores.';
COMMENT ON COLUMN dashboard.drift.aggregate IS 'For scores: how the policies aggregate the scores of tiles; null otherwise.';
COMMENT ON COLUMN dashboard.drift.checks IS 'Number of checks in the week; for scores, of those that have one.';
COMMENT ON COLUMN dashboard.drift.reference_checks IS 'Number of checks in the four weeks before.';
COMMENT ON COLUMN dashboard.drift.psi IS 'Population stability index: 0 when the shares of all categories are the same; 0.1 is by convention a moderate change, 0.25 a large one. Null with too few checks.';
COMMENT ON COLUMN dashboard.drift.chi_squared IS 'Statistic of the chi-squared test of homogeneity; categories with fewer than five expected checks are taken together. Null with fewer than 200 checks in the week or in the reference.';
COMMENT ON COLUMN dashboard.drift.degrees_of_freedom IS 'Degrees of freedom of that test.';
COMMENT ON COLUMN dashboard.drift.p_value IS 'The probability, 0 to 1, of a statistic at least this large when nothing has changed.';
COMMENT ON COLUMN dashboard.drift.adjusted_p_value IS 'p_value corrected by Benjamini and Hochberg for all tests of the week.';
COMMENT ON COLUMN dashboard.drift.status IS 'drifted (adjusted p-value below 0.01 and psi at least 0.02), stable, too_few (no test), incomparable (the weeks before have only other weights, precisions, tilings or policy versions), new_source (they have nothing), or silent (it has stopped sending).';
COMMENT ON COLUMN dashboard.drift.risen IS 'The category whose share has risen most: the number of a bin of scores, a decision, or a generator (empty for checks without one).';
COMMENT ON COLUMN dashboard.drift.risen_share IS 'Share of that category in the week, 0 to 1.';
COMMENT ON COLUMN dashboard.drift.risen_reference_share IS 'Share of that category in the four weeks before, 0 to 1.';
COMMENT ON COLUMN dashboard.drift.last_check_at IS 'For arrivals: when the last check of the source was accepted, unless it was pruned; null otherwise.';

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
(
    -- Postgres merges the branches by time and reads each only as far as it is asked; where there is a condition, it
    -- needs to be told the order.
    SELECT created_at, 'review', reviewer, decision, check_id::text, note, jsonb_build_object('id', id)
    FROM susy.reviews WHERE batch_id IS NULL ORDER BY created_at DESC
)
UNION ALL
SELECT
    created_at, 'review', reviewer, 'bulk ' || decision, reviews || ' checks', note,
    jsonb_build_object('id', id, 'filters', filters)
FROM susy.review_batches
UNION ALL
SELECT
    created_at, 'review', undone_by, 'undo', 'review ' || target_id, reason,
    jsonb_build_object('id', id, 'reviews', reviews)
FROM susy.review_undos
UNION ALL
SELECT
    created_at, 'golden', changed_by, coalesce('add as ' || decision, 'remove'), check_id::text, reason,
    jsonb_build_object('id', id)
FROM susy.golden_changes
UNION ALL
SELECT
    started_at, 'policy', applied_by,
    CASE
        WHEN undoes IS NULL THEN 'apply ' || policy_name || '@' || policy_version
        ELSE 'undo application ' || undoes
    END,
    'application ' || id, reason,
    jsonb_build_object('filter', filter, 'replaced', replaced, 'changed', changed, 'undoes', undoes)
FROM susy.policy_applications
UNION ALL
SELECT
    at, kind, actor, action, subject, reason,
    CASE WHEN login <> actor THEN details || jsonb_build_object('login', login) ELSE details END
FROM susy.operations;

COMMENT ON VIEW dashboard.audit_log IS 'What people changed: policies, reviews and what was undone of them, golden items, API keys, endpoints, paused lanes, checks that operators queued again or cancelled, and what was pruned. Rows are only added.';
COMMENT ON COLUMN dashboard.audit_log.at IS 'Time of the change.';
COMMENT ON COLUMN dashboard.audit_log.kind IS 'policy, review, golden, key, endpoint, lane, checks or prune.';
COMMENT ON COLUMN dashboard.audit_log.actor IS 'Who: the name that was given with --by, or the user of the machine; an API key by its name; where none is named, the database''s login. Names are what a command or a service says; details has the login where it differs.';
COMMENT ON COLUMN dashboard.audit_log.action IS 'What was done: the change or the application of a policy, the decision of the review (of many checks with bulk before it), undo, add as or remove for golden items, or create, revoke, add, disable, enable, rotate, pause, resume, retry, cancel, prune.';
COMMENT ON COLUMN dashboard.audit_log.subject IS 'Object of the change: a revision, an application of a policy, a check, a review that was undone, the name of a key, an endpoint or a lane, or the number of checks.';
COMMENT ON COLUMN dashboard.audit_log.reason IS 'Reason, if one was given: the reason of a policy change, the note of a review, why a review was undone, why an endpoint was disabled.';
COMMENT ON COLUMN dashboard.audit_log.details IS 'Further details, as an object. Secrets are never part of it.';

CREATE VIEW dashboard.cases AS
SELECT
    k.content_sha256,
    k.check_id,
    k.source,
    k.external_id,
    k.uri,
    k.policy_name AS policy,
    CASE WHEN c.id IS NULL THEN k.expected ELSE r.decision END AS expected,
    k.overridden,
    v.decision,
    v.policy_version,
    CASE
        WHEN c.id IS NOT NULL AND r.decision IS DISTINCT FROM 'authentic' AND r.decision IS DISTINCT FROM 'synthetic'
            THEN 'withdrawn'
        WHEN v.id IS NULL THEN 'unknown'
        WHEN v.decision = 'inconclusive' THEN 'inconclusive'
        WHEN v.decision = r.decision THEN 'right'
        ELSE 'wrong'
    END AS standing,
    k.added_by,
    k.added_at
FROM susy.cases AS k
LEFT JOIN susy.checks AS c ON c.id = k.check_id
LEFT JOIN susy.counted_reviews AS r ON r.check_id = c.id
LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live';

COMMENT ON VIEW dashboard.cases IS 'The regression set: images on which people overrode a policy, and others that were added (`susy cases`). One row per content.';
COMMENT ON COLUMN dashboard.cases.content_sha256 IS 'SHA-256 of the encoded image, 64 hexadecimal digits.';
COMMENT ON COLUMN dashboard.cases.check_id IS 'The check whose verdict was overridden last; it may be pruned.';
COMMENT ON COLUMN dashboard.cases.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.cases.external_id IS 'The platform''s own id of the upload.';
COMMENT ON COLUMN dashboard.cases.uri IS 'Location of the image at submission.';
COMMENT ON COLUMN dashboard.cases.policy IS 'Name of the policy whose verdict was overridden.';
COMMENT ON COLUMN dashboard.cases.expected IS 'Known answer: the decision of the review that counts, or, once the check was pruned, of the review that made the case. Null when no review of the check counts.';
COMMENT ON COLUMN dashboard.cases.overridden IS 'Decision of the policy when the image became a case.';
COMMENT ON COLUMN dashboard.cases.decision IS 'The live verdict of the check; null once it was pruned.';
COMMENT ON COLUMN dashboard.cases.policy_version IS 'Version of the policy that made the live verdict.';
COMMENT ON COLUMN dashboard.cases.standing IS 'Comparison of the live verdict with the known answer: right, wrong or inconclusive; unknown once the check was pruned; withdrawn when the review says inconclusive or no longer counts.';
COMMENT ON COLUMN dashboard.cases.added_by IS 'Reviewer, or person who added it.';
COMMENT ON COLUMN dashboard.cases.added_at IS 'When it became a case, or was overridden again.';

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

COMMENT ON VIEW dashboard.policy_agreement IS 'Agreement of reviewers with the live verdict: number of reviewed checks by both decisions. Only the review that counts is included.';
COMMENT ON COLUMN dashboard.policy_agreement.day IS 'The day, in UTC, of the review.';
COMMENT ON COLUMN dashboard.policy_agreement.policy IS 'Name of the policy that decided.';
COMMENT ON COLUMN dashboard.policy_agreement.policy_version IS 'Version of that policy.';
COMMENT ON COLUMN dashboard.policy_agreement.decision IS 'Decision of the policy: authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.policy_agreement.review_decision IS 'Decision of the reviewer.';
COMMENT ON COLUMN dashboard.policy_agreement.checks IS 'Number of checks.';
