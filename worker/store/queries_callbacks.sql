-- Events of checks, and their delivery to endpoints, in the order of an event's life. An event is written by a trigger in
-- the transaction that ends a check (schema/tables.py). Read by `queries.py` as queries.sql is.
--
-- `ahead` is the time that a test's clock is ahead of the database's, in seconds; 0 otherwise.


-- ==== Events =========================================================================================================

-- TRY_LOCK_EVENTS: take the right to give positions until the end of this transaction, without waiting for it.
SELECT pg_try_advisory_xact_lock(%(space)s::int, %(key)s::int);

-- EVENTS_WITHOUT_POSITION: whether there are any.
SELECT EXISTS (SELECT FROM susy.events WHERE position IS NULL);

-- NUMBER_EVENTS: give the next events their positions, in the order in which they were written, and the data that is
-- sent. Under TRY_LOCK_EVENTS, in a statement of its own, whose snapshot shows what the holder before has committed.
WITH numbered AS (
    SELECT id, nextval('susy.event_positions') AS position FROM (
        SELECT id FROM susy.events WHERE position IS NULL ORDER BY id LIMIT %(limit)s
    ) AS next
), described AS (
    SELECT n.id, n.position, jsonb_build_object(
        'check_id', c.id,
        'sequence', n.id,
        'source', c.source,
        'external_id', c.external_id,
        'lane', c.lane,
        'state', e.state,
        'attempts', e.attempts,
        'created_at', c.created_at,
        'finished_at', e.finished_at,
        'error', CASE WHEN e.error_code IS NOT NULL AND e.state <> 'done' THEN
            jsonb_build_object('code', e.error_code, 'message', coalesce(e.error_message, ''))
        END,
        'decision', v.decision,
        'score', v.score,
        'class_scores', v.class_scores,
        'generator', v.generator,
        'generator_confidence', v.generator_confidence,
        'reasons', to_jsonb(v.reasons),
        'needs_review', v.needs_review,
        'regions', v.regions,
        'policy', CASE WHEN v.policy_name IS NOT NULL THEN
            jsonb_build_object('name', v.policy_name, 'version', v.policy_version)
        END,
        'model', CASE WHEN v.model_name IS NOT NULL THEN
            jsonb_build_object(
                'name', v.model_name, 'sha256', v.weights_sha256, 'is_demo', v.is_demo, 'precision', v.precision
            )
        END,
        'width', v.width,
        'height', v.height,
        'content_sha256', v.content_sha256,
        'has_map', coalesce(v.has_map, false),
        'review', (
            SELECT jsonb_build_object('decision', r.decision, 'created_at', r.created_at)
            FROM susy.reviews AS r
            WHERE r.check_id = c.id AND (r.id = e.review_id OR (e.review_id IS NULL AND r.created_at <= e.created_at))
            ORDER BY r.created_at DESC, r.id DESC LIMIT 1
        ),
        'attributes', c.attributes
    ) AS data
    FROM numbered AS n
    JOIN susy.events AS e ON e.id = n.id
    JOIN susy.checks AS c ON c.id = e.check_id
    LEFT JOIN LATERAL (
        SELECT
            v.*, s.model_name, s.weights_sha256, s.is_demo, s.precision, s.width, s.height, s.content_sha256,
            s.map_png IS NOT NULL AS has_map
        FROM susy.verdicts AS v JOIN susy.scans AS s ON s.id = v.scan_id
        WHERE v.check_id = c.id AND (v.id = e.verdict_id OR v.mode = 'live') AND e.state = 'done'
        ORDER BY v.id = e.verdict_id DESC NULLS LAST LIMIT 1
    ) AS v ON true
)
UPDATE susy.events AS e SET position = d.position, data = d.data
FROM described AS d WHERE e.id = d.id
RETURNING e.id;

-- EVENTS_AFTER: the events after a position, in their order.
SELECT position, id, check_id, type, created_at, data FROM susy.events
WHERE position > %(after)s AND (%(sources)s::text[] IS NULL OR source = ANY (%(sources)s))
ORDER BY position LIMIT %(limit)s;

-- FAN_OUT: hand events to the endpoint that the check names, or to those of its source.
INSERT INTO susy.deliveries (endpoint_id, event_id, check_id, next_attempt_at)
SELECT p.id, e.id, e.check_id, clock_timestamp() + make_interval(secs => %(ahead)s)
FROM susy.events AS e
JOIN susy.checks AS c ON c.id = e.check_id
JOIN susy.endpoints AS p
    ON p.name = c.endpoint OR (c.endpoint IS NULL AND c.source = ANY (p.sources))
WHERE e.id = ANY (%(event_ids)s)
ON CONFLICT (endpoint_id, event_id) DO NOTHING;

-- SUPERSEDE: end the older deliveries of the same checks that wait for another attempt. One that is being sent is left to
-- its deliverer; the newer one waits for it.
UPDATE susy.deliveries AS older SET state = 'superseded', finished_at = clock_timestamp(), lease_token = NULL, lease_until = NULL
WHERE older.state = 'pending'
    AND (older.lease_until IS NULL OR older.lease_until < clock_timestamp() + make_interval(secs => %(ahead)s))
    AND EXISTS (
        SELECT FROM susy.deliveries AS newer
        WHERE newer.event_id = ANY (%(event_ids)s) AND newer.check_id = older.check_id
            AND newer.endpoint_id = older.endpoint_id AND newer.event_id > older.event_id
    );
