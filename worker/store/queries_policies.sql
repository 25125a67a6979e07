-- Deciding again about checks that were decided before: the statements behind `susy policy apply` and `susy policy
-- backtest`. Read by `queries.py` as queries.sql is.


-- NEXT_CHECKS: the last of the next `window` ids after the given one; null at the end. Bounds the work of DECIDED_SCANS,
-- however few of the checks it selects.
SELECT max(id::text)::uuid FROM (SELECT id FROM susy.checks WHERE id > %(after)s ORDER BY id LIMIT %(window)s) AS next;

-- DECIDED_SCANS: the checks with a live verdict whose ids lie between two, in the order of their ids, each with its scan
-- and the review that counts. Ids of version 7 ascend with time. `decided_by` restricts them to verdicts of that policy,
-- and `except` leaves out those of that version. The order of the columns is that of `_decided_scan` and `ScanColumns`.
-- A review is looked for only where there is one: the search would cost more than the rest of the row.
SELECT
    c.id AS check_id, c.source, c.created_at, v.id AS verdict_id, v.policy_name, v.policy_version, v.decision,
    v.generator, v.needs_review, s.updated_at <= v.created_at AS scan_is_unchanged,
    CASE
        WHEN v.reviewed_at IS NOT NULL THEN (SELECT r.decision FROM susy.counted_reviews AS r WHERE r.check_id = c.id)
    END AS review_decision,
    s.id, s.map_png IS NOT NULL AS has_map, s.content_sha256, s.weights_sha256, s.tiling, s.precision, s.model_name,
    s.classes, s.is_demo, s.width, s.height, s.format, s.corners, s.contrast, s.selected, s.scored, s.probabilities,
    s.map_sampled, s.signals
FROM susy.checks AS c
JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
JOIN susy.scans AS s ON s.id = v.scan_id
WHERE c.id > %(after)s AND c.id <= %(until)s
    AND (%(since)s::timestamptz IS NULL OR c.created_at >= %(since)s)
    AND (%(source)s::text IS NULL OR c.source = %(source)s)
    AND (%(decided_by)s::text IS NULL OR v.policy_name = %(decided_by)s)
    AND (%(decided_by_version)s::text IS NULL OR v.policy_version = %(decided_by_version)s)
    AND (
        %(except_name)s::text IS NULL OR v.policy_name <> %(except_name)s OR v.policy_version <> %(except_version)s
    )
ORDER BY c.id LIMIT %(limit)s;

-- BEGIN_APPLICATION: record that a policy is being applied to old checks, or that such an application is being undone:
-- who, why, and to which.
INSERT INTO susy.policy_applications (policy_name, policy_version, filter, applied_by, reason, undoes)
VALUES (%(name)s, %(version)s, %(filter)s, %(applied_by)s, %(reason)s, %(undoes)s)
RETURNING id;

-- LOCK_DONE: lock these checks in the order of their ids, to avoid deadlocks. Whoever reviews one locks it as well, so
-- that REPLACE_VERDICTS, a later statement with a later snapshot, sees its review.
SELECT id FROM susy.checks WHERE id = ANY(%(check_ids)b::uuid[]) AND state = 'done' ORDER BY id FOR NO KEY UPDATE;

-- Part SUPERSEDE: let the verdicts of `decided` take the places of those that they name and that are still live; the
-- checks whose verdict was replaced. Reviewed checks keep theirs unless `reviewed`. A new verdict inherits when its
-- check was reviewed, the probability with which its content was drawn for an audit, and scan and regions where none are
-- given. A shadow verdict of the same policy version becomes the live one. Each decision that changes has an event.
-- INSERT reads what UPDATE returns, so a check's old verdict is superseded before its new one is live.
superseded AS (
    UPDATE susy.verdicts AS v SET mode = 'superseded', superseded_at = now()
    FROM decided AS d
    WHERE v.id = d.replaced AND v.mode = 'live'
        AND (%(reviewed)s OR NOT EXISTS (SELECT FROM susy.counted_reviews AS r WHERE r.check_id = v.check_id))
    RETURNING v.id, v.check_id, v.scan_id, v.decision, v.regions, v.reviewed_at, v.audit_rate
), written AS (
    INSERT INTO susy.verdicts (
        id, check_id, scan_id, policy_name, policy_version, mode, decision, score, class_scores, generator,
        generator_confidence, reasons, needs_review, regions, reviewed_at, audit_rate, application_id, restores
    )
    SELECT
        d.id, s.check_id, coalesce(d.scan_id, s.scan_id), d.policy_name, d.policy_version, 'live', d.decision, d.score,
        d.class_scores, d.generator, d.generator_confidence, d.reasons, d.needs_review, coalesce(d.regions, s.regions),
        s.reviewed_at, s.audit_rate, %(application_id)s, d.restores
    FROM superseded AS s JOIN decided AS d ON d.replaced = s.id
    ON CONFLICT (check_id, policy_name, policy_version, superseded_at) DO UPDATE SET
        id = excluded.id, scan_id = excluded.scan_id, mode = 'live', decision = excluded.decision,
        score = excluded.score, class_scores = excluded.class_scores, generator = excluded.generator,
        generator_confidence = excluded.generator_confidence, reasons = excluded.reasons,
        needs_review = excluded.needs_review, regions = excluded.regions, created_at = now(),
        reviewed_at = excluded.reviewed_at, audit_rate = excluded.audit_rate,
        application_id = excluded.application_id, restores = excluded.restores
), told AS (
    INSERT INTO susy.events (
        check_id, source, type, state, attempts, finished_at, verdict_id, previous_verdict_id
    )
    SELECT c.id, c.source, 'image.verdict.changed', c.state, c.attempts, c.finished_at, d.id, s.id
    FROM superseded AS s JOIN decided AS d ON d.replaced = s.id JOIN susy.checks AS c ON c.id = s.check_id
    WHERE d.decision <> s.decision
    RETURNING id
), counted AS (
    UPDATE susy.policy_applications SET
        replaced = replaced + (SELECT count(*) FROM superseded),
        changed = changed + (SELECT count(*) FROM told),
        updated_at = clock_timestamp()
    WHERE id = %(application_id)s
)
SELECT check_id FROM superseded;

-- REPLACE_VERDICTS: let new verdicts of one policy version take the places of the given ones. The arrays come in binary
-- form, which costs both sides a fifth of what text does.
WITH decided AS (
    SELECT
        d.id, d.replaced, NULL::uuid AS scan_id, %(name)s::text AS policy_name, %(version)s::text AS policy_version,
        d.decision, d.score, d.class_scores::jsonb, d.generator, d.generator_confidence,
        string_to_array(d.reasons, ' ') AS reasons, d.needs_review, d.regions::jsonb, NULL::uuid AS restores
    FROM unnest(
        %(ids)b::uuid[], %(replaced)b::uuid[], %(decisions)b::text[], %(scores)b::float8[], %(class_scores)b::text[],
        %(generators)b::text[], %(confidences)b::float8[], %(reasons)b::text[], %(needs_review)b::boolean[],
        %(regions)b::text[]
    ) AS d (
        id, replaced, decision, score, class_scores, generator, generator_confidence, reasons, needs_review, regions
    )
),
:SUPERSEDE

-- UNDO_VERDICTS: let copies of superseded verdicts take the places of the given ones.
WITH decided AS (
    SELECT
        n.id, n.replaced, p.scan_id, p.policy_name, p.policy_version, p.decision, p.score, p.class_scores, p.generator,
        p.generator_confidence, p.reasons, p.needs_review, p.regions, coalesce(p.restores, p.id) AS restores
    FROM unnest(%(ids)b::uuid[], %(replaced)b::uuid[], %(restored)b::uuid[]) AS n (id, replaced, restored)
    JOIN susy.verdicts AS p ON p.id = n.restored
),
:SUPERSEDE

-- APPLIED_VERDICTS: the next verdicts that an application wrote, in the order of their ids, each with the verdict that
-- counts for its check now, and with the one that it replaced, which was superseded in the same transaction. The verdict
-- that counts is the application's as long as it is that, or restores it because a later one was undone.
SELECT
    w.id AS written, w.check_id, c.source, v.id AS live, v.generator, v.decision, v.reviewed_at IS NOT NULL AS reviewed,
    coalesce(v.restores, v.id) = coalesce(w.restores, w.id) AS counts,
    coalesce(v.restores, v.id) = coalesce(p.restores, p.id) AS undone,
    p.id AS replaced, p.policy_name, p.policy_version, p.decision AS decision_before
FROM susy.verdicts AS w
JOIN susy.checks AS c ON c.id = w.check_id
JOIN susy.verdicts AS v ON v.check_id = w.check_id AND v.mode = 'live'
JOIN susy.verdicts AS p ON p.check_id = w.check_id AND p.superseded_at = w.created_at
WHERE w.application_id = %(application_id)s AND w.id > %(after)s
ORDER BY w.id LIMIT %(limit)s;

-- APPLICATION: one application of a policy.
SELECT
    id, policy_name, policy_version, undoes, filter, applied_by, reason, started_at, finished_at, replaced, changed
FROM susy.policy_applications WHERE id = %(application_id)s;

-- APPLICATIONS: the latest ones, the youngest first.
SELECT
    id, policy_name, policy_version, undoes, filter, applied_by, reason, started_at, finished_at, replaced, changed
FROM susy.policy_applications ORDER BY id DESC LIMIT %(limit)s;

-- FINISH_APPLICATION: note that it reached the end.
UPDATE susy.policy_applications SET finished_at = clock_timestamp() WHERE id = %(application_id)s;

-- LATEST_CLASSES: the classes of the detector that made the latest scan. Ids of version 7 ascend with time.
SELECT classes FROM susy.scans ORDER BY id DESC LIMIT 1;
