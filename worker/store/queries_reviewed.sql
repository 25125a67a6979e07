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
    s.map_sampled, s.signals
FROM susy.checks AS c
JOIN susy.counted_reviews AS d ON d.check_id = c.id
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

-- ADD_CASES: make cases of these checks, of those whose review that counts is authentic or synthetic; the checks of which
-- one was made. What is a case already stays as it is.
INSERT INTO susy.cases (
    content_sha256, check_id, source, external_id, uri, policy_name, expected, overridden, added_by
)
SELECT DISTINCT ON (c.content_sha256)
    c.content_sha256, c.id, c.source, c.external_id, c.uri, v.policy_name, d.decision, v.decision, %(added_by)s
FROM susy.checks AS c
JOIN susy.counted_reviews AS d ON d.check_id = c.id
JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
WHERE c.id = ANY(%(check_ids)s) AND d.decision IN ('authentic', 'synthetic')
    AND (%(since)s::timestamptz IS NULL OR c.created_at >= %(since)s)
    AND (%(source)s::text IS NULL OR c.source = %(source)s)
ORDER BY c.content_sha256, c.id
ON CONFLICT (content_sha256) DO NOTHING
RETURNING check_id;

-- ARE_CASES: which of these checks have a content that is a case.
SELECT c.id FROM susy.checks AS c JOIN susy.cases AS k USING (content_sha256) WHERE c.id = ANY(%(check_ids)s);

-- CASES: the next `limit` cases after a content, each with what is expected now (null once its check's reviews are undone
-- or say inconclusive), the live verdict of its check, and the scan of that verdict or else the latest of the content.
SELECT
    k.content_sha256 AS case_sha256, k.check_id, k.source AS case_source, k.external_id, k.uri, k.policy_name,
    CASE WHEN c.id IS NULL THEN k.expected ELSE d.decision END AS expected, k.overridden, k.added_by, k.added_at,
    v.decision, s.id, s.map_png IS NOT NULL AS has_map, s.content_sha256, s.weights_sha256, s.tiling,
    s.precision, s.model_name, s.classes, s.is_demo, s.width, s.height, s.format, s.corners, s.contrast, s.selected,
    s.scored, s.probabilities, s.map_sampled, s.signals
FROM susy.cases AS k
LEFT JOIN susy.checks AS c ON c.id = k.check_id
LEFT JOIN susy.counted_reviews AS d ON d.check_id = c.id
LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
LEFT JOIN LATERAL (
    SELECT * FROM susy.scans AS of
    WHERE of.content_sha256 = k.content_sha256
    ORDER BY (of.id = v.scan_id) IS TRUE DESC, of.updated_at DESC, of.id LIMIT 1
) AS s ON true
WHERE k.content_sha256 > %(after)s
    AND (%(source)s::text IS NULL OR k.source = %(source)s)
    AND (%(policy)s::text IS NULL OR k.policy_name = %(policy)s)
ORDER BY k.content_sha256 LIMIT %(limit)s;
