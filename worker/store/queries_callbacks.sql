-- Events of checks, and their delivery to endpoints, in the order of an event's life. An event is written by a trigger in
-- the transaction that ends a check (schema/events.sql). Read by `queries.py` as queries.sql is.
--
-- `ahead` is the time that a test's clock is ahead of the database's, in seconds; 0 otherwise.


-- ==== Events =========================================================================================================

-- TRY_LOCK_EVENTS: take the right to give positions until the end of this transaction, without waiting for it.
SELECT pg_try_advisory_xact_lock(%(space)s::int, %(key)s::int);

-- EVENTS_WITHOUT_POSITION: the id after which to look for them, or no row when there are none: `back` before the event
-- that got the latest position. The index has an entry for every event that ever was without one, until vacuum may remove
-- it; a dashboard's long snapshot prevents that.
WITH latest (id) AS (
    SELECT coalesce((SELECT id FROM susy.events WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1), 0)
)
SELECT id - %(back)s::bigint FROM latest
WHERE EXISTS (
    SELECT FROM susy.events WHERE position IS NULL AND events.id > (SELECT id FROM latest) - %(back)s::bigint
);

-- NUMBER_EVENTS: give the next events their positions, in the order in which they were written, and the data that is
-- sent. Under TRY_LOCK_EVENTS, in a statement of its own, whose snapshot shows what the holder before has committed.
WITH numbered AS (
    SELECT id, nextval('susy.event_positions') AS position FROM (
        SELECT id FROM susy.events WHERE position IS NULL AND id > %(beyond)s ORDER BY id LIMIT %(limit)s
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
        'source_changed', CASE WHEN e.state = 'done' THEN
            CASE
                WHEN c.etag <> c.fetched_etag OR c.version_id <> c.fetched_version_id THEN true
                WHEN c.etag = c.fetched_etag OR c.version_id = c.fetched_version_id THEN false
            END
        END,
        'has_map', coalesce(v.has_map, false),
        'review', (
            SELECT jsonb_build_object('decision', r.decision, 'created_at', r.created_at)
            FROM susy.reviews AS r
            WHERE r.check_id = c.id
                AND CASE e.type
                    WHEN 'image.review.created' THEN r.id = e.review_id
                    ELSE r.created_at <= e.created_at AND NOT EXISTS (
                        SELECT FROM susy.undone_reviews AS u JOIN susy.review_undos AS n ON n.id = u.undo_id
                        WHERE u.review_id = r.id AND n.created_at <= e.created_at
                    )
                END
            ORDER BY r.created_at DESC, r.id DESC LIMIT 1
        ),
        'previous', (
            SELECT jsonb_build_object(
                'decision', p.decision, 'score', p.score,
                'policy', jsonb_build_object('name', p.policy_name, 'version', p.policy_version)
            )
            FROM susy.verdicts AS p WHERE p.id = e.previous_verdict_id
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


-- ==== Endpoints ======================================================================================================

-- ADD_ENDPOINT: register an endpoint; no row when the name is taken.
INSERT INTO susy.endpoints (name, url, sources, allow_private)
VALUES (%(name)s, %(url)s, %(sources)s, %(allow_private)s)
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- ADD_ENDPOINT_KEY: add a key that signs from now on.
INSERT INTO susy.endpoint_keys (endpoint_id, kind, secret) VALUES (%(endpoint_id)s, %(kind)s, %(secret)s);

-- EXPIRE_ENDPOINT_KEYS: let the keys that sign now do so for `keep` more seconds, and forget those that are over.
WITH forgotten AS (
    DELETE FROM susy.endpoint_keys WHERE endpoint_id = %(endpoint_id)s AND expires_at <= now()
)
UPDATE susy.endpoint_keys SET expires_at = now() + make_interval(secs => %(keep)s)
WHERE endpoint_id = %(endpoint_id)s AND (expires_at IS NULL OR expires_at > now() + make_interval(secs => %(keep)s));

-- LIST_ENDPOINTS: every endpoint, or the one of this name, with the keys that sign now, the newest first.
SELECT
    e.id, e.name, e.url, e.sources, e.allow_private, e.created_at, e.disabled_at, e.disabled_reason, e.failures,
    e.open_until,
    ARRAY(
        SELECT k.kind FROM susy.endpoint_keys AS k
        WHERE k.endpoint_id = e.id AND (k.expires_at IS NULL OR k.expires_at > now()) ORDER BY k.id DESC
    ) AS key_kinds,
    ARRAY(
        SELECT k.secret FROM susy.endpoint_keys AS k
        WHERE k.endpoint_id = e.id AND (k.expires_at IS NULL OR k.expires_at > now()) ORDER BY k.id DESC
    ) AS key_secrets
FROM susy.endpoints AS e
WHERE %(name)s::text IS NULL OR e.name = %(name)s
ORDER BY e.name;

-- ENDPOINT_NAMES: the names alone, for processes that may not read where callbacks are sent.
SELECT name FROM susy.endpoints;

-- DISABLE_ENDPOINT: send nothing to it until it is enabled; what is handed to it waits.
UPDATE susy.endpoints SET disabled_at = clock_timestamp(), disabled_reason = %(reason)s
WHERE id = %(endpoint_id)s AND disabled_at IS NULL;

-- ENABLE_ENDPOINT: send to it again, at once.
UPDATE susy.endpoints SET disabled_at = NULL, disabled_reason = NULL, failures = 0, open_until = NULL
WHERE id = %(endpoint_id)s AND (disabled_at IS NOT NULL OR failures > 0);

-- NOTE_SUCCESS: close the circuit of an endpoint.
UPDATE susy.endpoints SET failures = 0, open_until = NULL
WHERE id = %(endpoint_id)s AND (failures > 0 OR open_until IS NOT NULL);

-- NOTE_FAILURES: count failed attempts in sequence. From `threshold` on nothing is sent for a time that doubles with each
-- further failure, from `first` to `longest` seconds; and never before the endpoint wants it (`requested`).
UPDATE susy.endpoints SET
    failures = failures + %(count)s,
    open_until = CASE
        WHEN failures + %(count)s >= %(threshold)s OR %(requested)s::float8 IS NOT NULL THEN
            now() + make_interval(secs => %(ahead)s + greatest(
                coalesce(%(requested)s::float8, 0),
                CASE WHEN failures + %(count)s >= %(threshold)s THEN
                    %(jitter)s::float8
                    * least(%(longest)s, %(first)s * 2.0 ^ least(failures + %(count)s - %(threshold)s, 30))
                ELSE 0 END
            ))
        ELSE open_until
    END
WHERE id = %(endpoint_id)s;


-- ==== Delivering =====================================================================================================

-- CLAIM_DELIVERIES: take due deliveries of each endpoint, as many as it has slots, for one attempt under a lease. A lease
-- that is over is that of a deliverer that died, and its delivery is taken again. An event waits while an older one of its
-- check is pending. After `threshold` failures only one is taken, to try the endpoint, and no other one before its lease is
-- over.
WITH wanted AS (
    SELECT * FROM unnest(%(endpoint_ids)s::int[], %(slots)s::int[]) AS w (endpoint_id, slots)
), served AS (
    SELECT
        e.id, e.failures >= %(threshold)s AS is_trial,
        CASE WHEN e.failures >= %(threshold)s THEN least(w.slots, 1) ELSE w.slots END AS slots
    FROM wanted AS w JOIN susy.endpoints AS e ON e.id = w.endpoint_id
    WHERE e.disabled_at IS NULL
        AND (e.open_until IS NULL OR e.open_until <= now() + make_interval(secs => %(ahead)s))
), chosen AS (
    SELECT due.endpoint_id, due.event_id, s.is_trial
    FROM served AS s CROSS JOIN LATERAL (
        SELECT d.endpoint_id, d.event_id
        FROM susy.deliveries AS d
        WHERE d.endpoint_id = s.id AND d.state = 'pending'
            AND d.next_attempt_at <= now() + make_interval(secs => %(ahead)s)
            AND (d.lease_until IS NULL OR d.lease_until < now() + make_interval(secs => %(ahead)s))
            AND NOT EXISTS (
                SELECT FROM susy.deliveries AS older
                WHERE older.check_id = d.check_id AND older.endpoint_id = d.endpoint_id AND older.event_id < d.event_id
                    AND older.state = 'pending'
            )
        ORDER BY d.next_attempt_at, d.event_id LIMIT s.slots FOR NO KEY UPDATE SKIP LOCKED
    ) AS due
), trials AS (
    UPDATE susy.endpoints SET open_until = now() + make_interval(secs => %(ahead)s + %(lease)s)
    WHERE id IN (SELECT endpoint_id FROM chosen WHERE is_trial)
)
UPDATE susy.deliveries AS d SET
    attempts = d.attempts + 1,
    attempted_at = clock_timestamp(),
    lease_token = gen_random_uuid(),
    lease_until = now() + make_interval(secs => %(ahead)s + %(lease)s)
FROM chosen AS c JOIN susy.events AS e ON e.id = c.event_id
WHERE d.endpoint_id = c.endpoint_id AND d.event_id = c.event_id
RETURNING d.endpoint_id, d.lease_token, d.attempts AS attempt, e.position, e.id AS event_id, e.check_id, e.type, e.created_at, e.data;

-- RECORD_DELIVERIES: end attempts, each under its lease. An attempt that failed while a newer event of the check is there is
-- the last one. `retry_in` is null where no attempt is left.
UPDATE susy.deliveries AS d SET
    state = r.state,
    attempts = d.attempts - r.uncounted,
    finished_at = CASE WHEN r.state <> 'pending' THEN clock_timestamp() END,
    next_attempt_at = now() + make_interval(secs => %(ahead)s + coalesce(r.retry_in, 0)),
    lease_token = NULL, lease_until = NULL,
    status = r.status, error_code = r.code, error_message = r.message
FROM (
    SELECT
        a.*,
        CASE
            WHEN a.code IS NULL AND a.uncounted = 0 THEN 'delivered'
            WHEN EXISTS (
                SELECT FROM susy.deliveries AS newer
                WHERE newer.endpoint_id = a.endpoint_id AND newer.check_id = mine.check_id AND newer.event_id > a.event_id
            ) THEN 'superseded'
            WHEN a.retry_in IS NULL THEN 'failed'
            ELSE 'pending'
        END AS state
    FROM unnest(
        %(endpoint_ids)s::int[], %(event_ids)s::bigint[], %(lease_tokens)s::uuid[], %(statuses)s::int[],
        %(codes)s::text[], %(messages)s::text[], %(retry_in)s::float8[], %(uncounted)s::int[]
    ) AS a (endpoint_id, event_id, lease_token, status, code, message, retry_in, uncounted)
    JOIN susy.deliveries AS mine ON mine.endpoint_id = a.endpoint_id AND mine.event_id = a.event_id
    ORDER BY a.endpoint_id, a.event_id
) AS r
WHERE d.endpoint_id = r.endpoint_id AND d.event_id = r.event_id AND d.lease_token = r.lease_token
RETURNING d.state;


-- ==== Operating callbacks ============================================================================================

-- CALLBACK_STATUS: what waits at each endpoint, and what became of the rest in the last 24 hours.
SELECT
    e.name, e.disabled_at, e.disabled_reason, e.failures, e.open_until,
    (SELECT count(*) FROM susy.deliveries AS d WHERE d.endpoint_id = e.id AND d.state = 'pending') AS pending,
    (
        SELECT extract(epoch FROM now() - min(d.created_at)) FROM susy.deliveries AS d
        WHERE d.endpoint_id = e.id AND d.state = 'pending'
    )::float8 AS oldest_age,
    (SELECT count(*) FROM susy.deliveries AS d WHERE d.endpoint_id = e.id AND d.state = 'failed') AS failed,
    (
        SELECT count(*) FROM susy.deliveries AS d
        WHERE d.endpoint_id = e.id AND d.state = 'delivered' AND d.finished_at > now() - interval '24 hours'
    ) AS delivered_lately
FROM susy.endpoints AS e ORDER BY e.name;

-- OVERDUE_DELIVERY: for how many seconds the delivery has been due that a deliverer should have taken first; null when
-- none is due.
SELECT extract(epoch FROM now() - min(due.next_attempt_at))::float8 FROM susy.endpoints AS e CROSS JOIN LATERAL (
    SELECT greatest(d.next_attempt_at, e.open_until) AS next_attempt_at FROM susy.deliveries AS d
    WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.next_attempt_at <= now()
        AND (d.lease_until IS NULL OR d.lease_until < now())
    ORDER BY d.next_attempt_at LIMIT 1
) AS due
WHERE e.disabled_at IS NULL AND due.next_attempt_at <= now();

-- RETRY_DELIVERIES: let up to `limit` failed deliveries be attempted again, with all their attempts. One that a newer event
-- of its check has followed is superseded. Under TRY_LOCK_EVENTS, so that no newer one appears meanwhile.
UPDATE susy.deliveries AS d SET
    state = CASE WHEN EXISTS (
        SELECT FROM susy.deliveries AS newer
        WHERE newer.endpoint_id = d.endpoint_id AND newer.check_id = d.check_id AND newer.event_id > d.event_id
    ) THEN 'superseded' ELSE 'pending' END,
    finished_at = CASE WHEN EXISTS (
        SELECT FROM susy.deliveries AS newer
        WHERE newer.endpoint_id = d.endpoint_id AND newer.check_id = d.check_id AND newer.event_id > d.event_id
    ) THEN clock_timestamp() END,
    attempts = 0,
    next_attempt_at = now()
WHERE (d.endpoint_id, d.event_id) IN (
    SELECT f.endpoint_id, f.event_id FROM susy.deliveries AS f JOIN susy.endpoints AS e ON e.id = f.endpoint_id
    WHERE f.state = 'failed'
        AND (%(endpoint)s::text IS NULL OR e.name = %(endpoint)s)
        AND (%(check_ids)s::uuid[] IS NULL OR f.check_id = ANY (%(check_ids)s))
        AND (%(since)s::timestamptz IS NULL OR f.finished_at >= %(since)s)
    ORDER BY f.finished_at LIMIT %(limit)s FOR NO KEY UPDATE OF f SKIP LOCKED
)
RETURNING d.state;

-- PURGE_DELIVERIES: delete up to `limit` that were delivered or superseded more than `age` seconds ago.
DELETE FROM susy.deliveries WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM susy.deliveries
    WHERE state IN ('delivered', 'superseded') AND state <> 'pending'
        AND finished_at < now() + make_interval(secs => %(ahead)s::float8 - %(age)s::float8)
    ORDER BY finished_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
));
