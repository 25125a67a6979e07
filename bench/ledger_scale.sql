-- BATCH: checks, scans and verdicts number %(first)s to %(last)s, of %(count)s up to number %(rows)s that are spread evenly
-- over %(days)s days until now.
-- As triggers are off, ids, times and counts are what a worker would have written. Sizes are those of photographs of
-- about a megapixel: 20 tiles, six classes; every fourth scan has a map.
WITH numbers AS (
    SELECT
        i,
        now() - make_interval(secs => (%(rows)s - i) * (%(days)s * 86400.0 / %(count)s)) AS at,
        md5('check' || i) AS digest,
        abs(hashint8(i)) %% 1000 AS dice
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i
), made AS (
    SELECT
        *,
        (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(digest, 1, 3) || '8'
            || substr(digest, 4, 15))::uuid AS id,
        (ARRAY['chat', 'posts', 'avatars', 'ads', 'market', 'stories', 'groups', 'mail'])[1 + least(7, floor(-2 * ln(
            (1 + abs(hashint8(i + 7)) %% 9999) / 10000.0)))::int] AS source,
        md5('image' || i) || md5('content' || i) AS content,
        CASE
            WHEN dice < 10 THEN 'quarantined' WHEN dice < 14 THEN 'cancelled' WHEN dice < 16 THEN 'expired' ELSE 'done'
        END AS state,
        CASE
            WHEN dice < 720 THEN 'authentic' WHEN dice < 900 THEN 'synthetic' ELSE 'inconclusive'
        END AS decision,
        CASE WHEN dice < 720 THEN 0.05 + dice / 4000.0 WHEN dice < 900 THEN 0.9 + dice / 10000.0 ELSE 0.5 END AS score
    FROM numbers
), new_checks AS (
    INSERT INTO susy.checks (
        id, source, external_id, uri, lane, attributes, state, attempts, created_at, next_attempt_at, dispatched_at,
        worker, started_at, finished_at, error_code, error_message, content_sha256, expires_at
    )
    SELECT
        id, source, 'upload-' || digest, 's3://uploads/' || source || '/' || substr(digest, 1, 2) || '/' || digest,
        CASE WHEN dice %% 5 = 0 THEN 'backfill' ELSE 'live' END,
        jsonb_build_object('user', i %% 100000, 'country', (ARRAY['NL', 'DE', 'FR', 'US', 'BR', 'IN'])[1 + dice %% 6]),
        state, 1, at, at, at, 'worker-' || dice %% 8 || ':1:0', at + interval '1 second', at + interval '2 seconds',
        CASE state WHEN 'quarantined' THEN 'corrupt' END,
        CASE state WHEN 'quarantined' THEN 'the file is not a valid image' END,
        CASE state WHEN 'done' THEN content END,
        CASE state WHEN 'expired' THEN at + interval '1 second' END
    FROM made
), new_scans AS (
    INSERT INTO susy.scans (
        id, content_sha256, weights_sha256, tiling, precision, model_name, classes, is_demo, width, height, format,
        tiles_total, tiles_scored, corners, contrast, selected, scored, probabilities, map_png, created_at, updated_at
    )
    SELECT
        id, content, repeat('ab', 32), 'coverage-224', 'float32', 'susy',
        ARRAY['authentic', 'dalle-3-images', 'diffusiondb', 'midjourney-images', 'midjourney_tti', 'realisticSDXL'],
        false, 1200, 900, 'jpeg', 20, 5,
        decode(repeat(digest, 10), 'hex'), decode(repeat(digest, 5), 'hex'), decode(repeat('0001', 10), 'hex'),
        decode(repeat('0001', 10), 'hex'), decode(repeat(digest, 15), 'hex'),
        CASE WHEN dice %% 4 = 0 THEN decode(repeat(digest, 60), 'hex') END, at, at
    FROM made WHERE state = 'done'
), new_verdicts AS (
    INSERT INTO susy.verdicts (
        id, check_id, scan_id, policy_name, policy_version, mode, decision, score, class_scores, generator,
        generator_confidence, reasons, needs_review, regions, created_at, reviewed_at
    )
    SELECT
        id, id, id, 'default', '0123456789ab', 'live', decision, score,
        jsonb_build_object(
            'authentic', round((1 - score)::numeric, 6), 'dalle-3-images', round((score / 2)::numeric, 6),
            'diffusiondb', 0.0125, 'midjourney-images', 0.0125, 'midjourney_tti', 0.0125, 'realisticSDXL', 0.0125
        ),
        CASE WHEN decision <> 'authentic' THEN (ARRAY[
            'dalle-3-images', 'diffusiondb', 'midjourney-images', 'midjourney_tti', 'realisticSDXL', 'unknown_generator'
        ])[1 + i %% 6] END,
        CASE WHEN decision <> 'authentic' THEN 0.5 END,
        ARRAY[CASE decision WHEN 'inconclusive' THEN 'between_thresholds' WHEN 'synthetic' THEN 'above_synthetic_at'
            ELSE 'below_authentic_below' END],
        decision = 'inconclusive',
        CASE WHEN decision = 'authentic' THEN '[]'::jsonb
            ELSE '[{"x": 0, "y": 0, "width": 448, "height": 224, "score": 0.97}]' END,
        at + interval '2 seconds',
        CASE WHEN decision = 'inconclusive' AND %(rows)s - i > %(count)s / 50 THEN at + interval '1 hour' END
    FROM made WHERE state = 'done'
)
INSERT INTO susy.reviews (id, check_id, reviewer, decision, content_sha256, created_at)
SELECT
    gen_random_uuid(), id, 'moderator-' || dice %% 9, CASE WHEN dice %% 3 = 0 THEN 'authentic' ELSE 'synthetic' END,
    content, at + interval '1 hour'
FROM made WHERE state = 'done' AND decision = 'inconclusive' AND %(rows)s - i > %(count)s / 50;

-- WAITING: %(waiting)s checks that wait in the backfill lane, and a shadow's verdicts on the checks of the last day.
INSERT INTO susy.checks (id, source, external_id, uri, lane)
SELECT gen_random_uuid(), 'archive', 'waiting-' || gen_random_uuid(), '/images/archive/' || i || '.jpg', 'backfill'
FROM generate_series(1, %(waiting)s::int) AS i;

-- SHADOW: a shadow's verdicts on the checks of the last day, of which every fifth differs.
INSERT INTO susy.verdicts (
    id, check_id, scan_id, policy_name, policy_version, mode, decision, score, class_scores, generator,
    generator_confidence, reasons, needs_review, regions, created_at
)
SELECT
    gen_random_uuid(), v.check_id, v.scan_id, 'strict', 'ba9876543210', 'shadow',
    CASE WHEN abs(hashtext(v.check_id::text)) %% 5 = 0 THEN 'inconclusive' ELSE v.decision END, v.score, v.class_scores,
    v.generator, v.generator_confidence, v.reasons, false, v.regions, v.created_at
FROM susy.checks AS c JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
WHERE c.created_at >= now() - interval '1 day'
ON CONFLICT DO NOTHING;

-- COUNTS: what the triggers would have counted.
INSERT INTO susy.decision_counts (
    day, source, policy_name, is_demo, decision, generator, policy_version, weights_sha256, precision, tiling,
    score_bin, checks, needs_review
)
SELECT
    (c.created_at AT TIME ZONE 'UTC')::date, c.source, v.policy_name, s.is_demo, v.decision,
    coalesce(v.generator, ''), v.policy_version, s.weights_sha256, s.precision, s.tiling, susy.score_bin(v.score),
    count(*), count(*) FILTER (WHERE v.needs_review)
FROM susy.verdicts AS v JOIN susy.checks AS c ON c.id = v.check_id JOIN susy.scans AS s ON s.id = v.scan_id
WHERE v.mode = 'live'
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
ON CONFLICT DO NOTHING;

-- QUEUE: what the triggers would have queued for review.
SELECT susy.refresh_review_items(array_agg(check_id)) FROM susy.verdicts
WHERE mode = 'live' AND needs_review AND reviewed_at IS NULL;
