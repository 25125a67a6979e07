-- What people decided, as labels: the statements behind `susy calibrate --from-reviews` and `susy cases`. Read by
-- `queries.py` as queries.sql is.


-- REVIEWED_CHECKS: the next `limit` ids of reviewed checks after the given one, in their order.
SELECT DISTINCT check_id FROM susy.reviews WHERE check_id > %(after)s ORDER BY check_id LIMIT %(limit)s;

-- REVIEWED_SCANS: of these checks, those that are reviewed and have a live verdict, each with the scan of it, the decision
-- that counts, and the highest probability with which its content was drawn for an audit, null when it was not drawn.
SELECT
    c.id AS check_id, c.source, d.decision AS review_decision,
    (
        SELECT max(a.audit_rate) FROM susy.verdicts AS a WHERE a.check_id = c.id AND a.mode <> 'shadow'
    ) AS audit_rate,
    s.id, s.map_png IS NOT NULL AS has_map, s.content_sha256, s.weights_sha256, s.tiling, s.precision, s.model_name,
    s.classes, s.is_demo, s.width, s.height, s.format, s.corners, s.contrast, s.selected, s.scored, s.probabilities,
    s.map_sampled
FROM susy.checks AS c
JOIN LATERAL (
    SELECT r.decision FROM susy.reviews AS r
    WHERE r.check_id = c.id ORDER BY r.created_at DESC, r.id DESC LIMIT 1
) AS d ON true
JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
JOIN susy.scans AS s ON s.id = v.scan_id
WHERE c.id = ANY(%(check_ids)s)
    AND (%(since)s::timestamptz IS NULL OR c.created_at >= %(since)s)
    AND (%(source)s::text IS NULL OR c.source = %(source)s)
ORDER BY c.id;

-- AUDITED: how many checks were drawn for an audit, and how many of them were reviewed.
SELECT count(*) AS drawn, count(v.reviewed_at) AS reviewed
FROM susy.verdicts AS v JOIN susy.checks AS c ON c.id = v.check_id
WHERE v.mode = 'live' AND v.audit_rate IS NOT NULL
    AND (%(since)s::timestamptz IS NULL OR c.created_at >= %(since)s)
    AND (%(source)s::text IS NULL OR c.source = %(source)s);
