-- Every statement that runs against the ledger, in the order of a check's life. `queries.py` reads this file:
-- `queries.CLAIM` is the text below "-- CLAIM:". Parameters are written %(name)s, a percent sign %%.
--
-- All times come from the database's clock. Each statement is planned with its parameters' values (`connection.py` sets
-- plan_cache_mode), so that `lane = %(lane)s` matches the partial indexes of that lane, and so that a filter of the
-- form `%(code)s IS NULL OR …` disappears from the plan when it is not given. Statements that every check needs find
-- their rows by keys; their plans are kept, which saves more than half of their time (decision 35).


-- ==== Connections ====================================================================================================

-- CONFIGURE: the settings that the store needs, whatever a role or a database sets. The first group determines how
-- values are written and read, the second how statements behave; the timeouts are in milliseconds.
-- `default_transaction_read_only` is changed only where a role or a database sets it: set for the whole server, it keeps
-- clients from writing to a primary that is about to be replaced. `susy.actor` is who the audit log names.
SELECT pg_catalog.set_config(name, value, false)
FROM (VALUES
    ('client_encoding', 'UTF8'),
    ('TimeZone', 'UTC'),
    ('DateStyle', 'ISO, MDY'),
    ('IntervalStyle', 'postgres'),
    ('bytea_output', 'hex'),
    ('extra_float_digits', '1'),
    ('array_nulls', 'on'),
    ('standard_conforming_strings', 'on'),
    ('search_path', 'pg_catalog'),
    ('plan_cache_mode', 'force_custom_plan'),
    ('client_min_messages', 'notice'),
    ('default_transaction_isolation', 'read committed'),
    ('default_transaction_deferrable', 'off'),
    ('default_transaction_read_only', 'off'),
    ('statement_timeout', %(statement_timeout)s),
    ('lock_timeout', %(lock_timeout)s),
    ('idle_in_transaction_session_timeout', %(statement_timeout)s),
    ('idle_session_timeout', '0'),
    ('transaction_timeout', '0'),
    ('susy.actor', %(actor)s)
) AS needed (name, value)
WHERE (pg_catalog.current_setting(name, true) IS NOT NULL OR name = 'susy.actor')
    AND (name <> 'default_transaction_read_only' OR EXISTS (
        SELECT FROM pg_catalog.pg_settings AS s
        WHERE s.name = 'default_transaction_read_only' AND s.source IN ('global', 'database', 'user', 'database user')
    ));

-- KEEP_PLANS: plan statements once, whatever their parameters and however many rows there are: by index lookups and
-- nested loops. Without sequential scans everything may count as expensive, so compiling is off.
SET plan_cache_mode = force_generic_plan; SET jit = off;
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;

-- PLAN_PER_CALL: plan each statement for its parameters, by whatever method the server's settings allow.
SET plan_cache_mode = force_custom_plan; RESET jit;
RESET enable_seqscan; RESET enable_hashjoin; RESET enable_mergejoin;

-- ACT_AS: whom the audit log names for what this transaction does.
SELECT pg_catalog.set_config('susy.actor', %(actor)s, true);

-- PING: anything that Postgres answers.
SELECT 1;

-- TRY_LOCK: take an advisory lock for this session, without waiting for it.
SELECT pg_try_advisory_lock(%(space)s::int, %(key)s::int);

-- UNLOCK: release it.
SELECT pg_advisory_unlock(%(space)s::int, %(key)s::int);


-- ==== Submitting =====================================================================================================

-- SUBMIT: insert the checks whose (source, external_id) is new, and whose endpoint, if they name one, takes callbacks of
-- their source. With `dispatched`, their messages count as sent, which the caller does next.
INSERT INTO susy.checks (
    id, source, external_id, uri, lane, policy, attributes, endpoint, expires_at, etag, version_id, dispatched_at
)
SELECT
    id, source, external_id, uri, lane, policy, attributes::jsonb, endpoint, expires_at, etag, version_id,
    CASE WHEN %(dispatched)s THEN clock_timestamp() END
FROM unnest(
    %(ids)s::uuid[], %(sources)s::text[], %(external_ids)s::text[], %(uris)s::text[], %(lanes)s::text[],
    %(policies)s::text[], %(attributes)s::text[], %(endpoints)s::text[], %(expire_at)s::timestamptz[],
    %(etags)s::text[], %(version_ids)s::text[]
) AS submitted (id, source, external_id, uri, lane, policy, attributes, endpoint, expires_at, etag, version_id)
WHERE endpoint IS NULL OR EXISTS (
    SELECT FROM susy.endpoints AS e
    WHERE e.name = submitted.endpoint AND (e.sources = '{}' OR submitted.source = ANY (e.sources))
)
ON CONFLICT (source, external_id) DO NOTHING
RETURNING id;

-- ACCEPTED_BEFORE: the checks that SUBMIT did not insert. A statement of its own, because the snapshot of SUBMIT does
-- not show what another session has just committed.
SELECT source, external_id, id AS check_id, uri FROM susy.checks
WHERE (source, external_id) IN (SELECT * FROM unnest(%(sources)s::text[], %(external_ids)s::text[]));

-- MARK_DISPATCHED: note that messages were sent. A locked row is being claimed and no longer needs the mark.
UPDATE susy.checks SET dispatched_at = clock_timestamp()
WHERE id IN (
    SELECT id FROM susy.checks WHERE id = ANY(%(check_ids)s) AND state = 'queued' FOR NO KEY UPDATE SKIP LOCKED
);

-- UNMARK_DISPATCHED: note that messages were not sent after all.
UPDATE susy.checks SET dispatched_at = NULL
WHERE id = ANY(%(check_ids)s) AND state = 'queued' AND dispatched_at IS NOT NULL;

-- REJECT_MESSAGE: keep a message that no check could be made of.
INSERT INTO susy.rejected_messages (task, body, code, message) VALUES (%(task)s, %(body)s, %(code)s, %(message)s);


-- ==== Publishing =====================================================================================================

-- TAKE_DUE: mark due checks of a lane as dispatched, one check of each source in turn, each source's oldest first. The
-- sources are found by one index step for each, however many checks they have, and at most about eight times as many
-- checks are read as are taken. Ids are passed as arrays, so that no plan reads the whole table. Their state is looked
-- at in a form that suits no index: in a large ledger whose statistics do not know of the waiting checks yet, the planner
-- would otherwise search all of them for these ids.
WITH RECURSIVE sources (source) AS (
    (
        SELECT source FROM susy.checks
        WHERE state = 'queued' AND dispatched_at IS NULL AND lane = %(lane)s
        ORDER BY source LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT source FROM susy.checks
        WHERE state = 'queued' AND dispatched_at IS NULL AND lane = %(lane)s AND source > s.source
        ORDER BY source LIMIT 1
    ) FROM sources AS s WHERE s.source IS NOT NULL
), share (most) AS (
    SELECT least(%(limit)s::bigint, ceil(8.0 * %(limit)s::bigint / greatest(count(source), 1))::bigint) FROM sources
), candidates AS (
    SELECT queue.id, queue.turn, queue.next_attempt_at
    FROM share CROSS JOIN sources AS s CROSS JOIN LATERAL (
        SELECT id, next_attempt_at, row_number() OVER (ORDER BY next_attempt_at) AS turn
        FROM susy.checks
        WHERE state = 'queued' AND dispatched_at IS NULL AND lane = %(lane)s AND source = s.source
            AND next_attempt_at <= now()
        ORDER BY next_attempt_at LIMIT share.most
    ) AS queue
    WHERE s.source IS NOT NULL
    ORDER BY turn, next_attempt_at, id LIMIT %(limit)s
), chosen AS (
    SELECT id FROM susy.checks
    WHERE id = ANY (ARRAY(SELECT id FROM candidates))
        AND CASE WHEN state = 'queued' AND dispatched_at IS NULL THEN lane END = %(lane)s
    FOR NO KEY UPDATE SKIP LOCKED
), taken AS (
    UPDATE susy.checks SET dispatched_at = clock_timestamp() WHERE id = ANY (ARRAY(SELECT id FROM chosen)) RETURNING id
)
SELECT id FROM candidates JOIN taken USING (id) ORDER BY turn, next_attempt_at, id;

-- READING_LOGINS: logins of dashboards and of moderators' tools, which of the limits each lacks, and whether it could learn
-- what other moderators decided. The limits stand on the login, or on the database: a role's are not inherited.
SELECT
    l.rolname AS name,
    bool_or(g.rolname = 'susy_moderator') AND bool_or(g.rolname = 'susy_dashboard') AS moderates_and_reads,
    ARRAY(
        SELECT w.name FROM unnest(ARRAY['statement_timeout', 'idle_in_transaction_session_timeout']) AS w (name)
        WHERE NOT EXISTS (
            SELECT FROM pg_db_role_setting AS s CROSS JOIN unnest(s.setconfig) AS c (setting)
            WHERE s.setrole IN (0, l.oid)
                AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                AND split_part(c.setting, '=', 1) = w.name AND split_part(c.setting, '=', 2) !~ '^0[a-z]*$'
        )
        ORDER BY w.name DESC
    ) AS without
FROM pg_roles AS l
JOIN pg_roles AS g ON g.rolname IN ('susy_dashboard', 'susy_moderator') AND pg_has_role(l.oid, g.oid, 'USAGE')
WHERE l.rolcanlogin AND NOT l.rolsuper
GROUP BY l.oid, l.rolname ORDER BY l.rolname;

-- PAUSED_AT: since when a lane is paused; no row while it is served.
SELECT paused_at FROM susy.paused_lanes WHERE lane = %(lane)s;

-- DISPATCHED_AGO: seconds since the message of a waiting check was noted as sent.
SELECT extract(epoch FROM now() - dispatched_at)::float FROM susy.checks
WHERE id = %(check_id)s AND state = 'queued' AND dispatched_at IS NOT NULL;

-- FORGET_DISPATCHED: return checks to the lane's queue whose messages were sent more than `age` seconds ago.
UPDATE susy.checks SET dispatched_at = NULL WHERE id = ANY (ARRAY(
    SELECT id FROM susy.checks
    WHERE state = 'queued' AND dispatched_at IS NOT NULL AND lane = %(lane)s
        AND dispatched_at < now() - make_interval(secs => %(age)s)
    ORDER BY dispatched_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
));


-- ==== Leases =========================================================================================================
-- A check has a lease token while it is running, and only then (ck_checks_running_has_token). Statements under a lease
-- name the token and not the state: with the state, the planner would prefer the index of running checks to the primary
-- key, and that index is full of dead entries when a long transaction keeps vacuum from removing them.

-- CLAIM: begin an attempt, unless the check's lane is paused or its deadline has passed. A session that waited for
-- another one's row lock sees that one's lease and matches nothing.
UPDATE susy.checks SET
    state = 'running',
    attempts = attempts + 1,
    lease_token = gen_random_uuid(),
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
    worker = %(worker)s,
    started_at = clock_timestamp()
WHERE id = %(check_id)s
    AND attempts < %(max_attempts)s
    AND lane NOT IN (SELECT lane FROM susy.paused_lanes)
    AND (expires_at IS NULL OR expires_at > clock_timestamp())
    AND (
        (
            state = 'queued' AND next_attempt_at <= clock_timestamp()
            AND (%(suspects)s OR error_code IS NULL OR error_code <> ALL(%(deadly)s))
        )
        OR (state = 'running' AND lease_until < clock_timestamp() AND %(suspects)s)
    )
RETURNING
    id AS check_id, lease_token, attempts AS attempt, source, external_id, uri, lane, policy, attributes, etag, version_id;

-- IS_SUSPECT: whether a check is due whose latest attempt may have ended its process.
SELECT EXISTS (
    SELECT FROM susy.checks
    WHERE id = %(check_id)s
        AND lane NOT IN (SELECT lane FROM susy.paused_lanes)
        AND (expires_at IS NULL OR expires_at > clock_timestamp())
        AND (
            (state = 'queued' AND next_attempt_at <= clock_timestamp() AND error_code = ANY(%(deadly)s))
            OR (state = 'running' AND lease_until < clock_timestamp())
        )
);

-- EXPIRE: end up to `limit` waiting checks whose deadline has passed, the earliest first, or the one of `check_id`. Rows
-- that others have locked are skipped. A running check is left to its worker, and to RECLAIM_EXPIRED if that one is lost.
UPDATE susy.checks SET state = 'expired', finished_at = clock_timestamp() WHERE id = ANY (ARRAY(
    SELECT id FROM susy.checks
    WHERE state = 'queued' AND expires_at <= now() AND (%(check_id)s::uuid IS NULL OR id = %(check_id)s)
    ORDER BY expires_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
));

-- RENEW: extend the leases that are still held. Rows are locked in the order of their ids, to avoid deadlocks.
UPDATE susy.checks AS c SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM (
    SELECT id FROM susy.checks AS held
    JOIN unnest(%(check_ids)s::uuid[], %(lease_tokens)s::uuid[]) AS ours (check_id, lease_token)
        ON held.id = ours.check_id AND held.lease_token = ours.lease_token
    ORDER BY id FOR NO KEY UPDATE OF held
) AS still
WHERE c.id = still.id
RETURNING c.lease_token;

-- RELEASE: return a check to the queue as it was before the claim.
UPDATE susy.checks SET
    state = 'queued', attempts = attempts - 1, next_attempt_at = clock_timestamp(), dispatched_at = NULL,
    lease_token = NULL, lease_until = NULL
WHERE id = %(check_id)s AND lease_token = %(lease_token)s;

-- RETRY_LATER: end a failed attempt and queue the check for another one.
UPDATE susy.checks SET
    state = 'queued', next_attempt_at = clock_timestamp() + make_interval(secs => %(retry_in)s), dispatched_at = NULL,
    lease_token = NULL, lease_until = NULL, error_code = %(code)s, error_message = %(message)s
WHERE id = %(check_id)s AND lease_token = %(lease_token)s;

-- QUARANTINE: end a failed attempt and the check.
UPDATE susy.checks SET
    state = 'quarantined', finished_at = clock_timestamp(),
    lease_token = NULL, lease_until = NULL, error_code = %(code)s, error_message = %(message)s
WHERE id = %(check_id)s AND lease_token = %(lease_token)s;

-- RECLAIM_EXPIRED: requeue checks whose lease has expired, and quarantine those without attempts left, including those
-- that ran out of attempts while queued because SUSY_MAX_ATTEMPTS was lowered.
WITH abandoned AS (
    SELECT id FROM susy.checks WHERE state = 'running' AND lease_until < clock_timestamp()
    LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
), exhausted AS (
    SELECT id FROM susy.checks WHERE state = 'queued' AND attempts > 0 AND attempts >= %(max_attempts)s
    LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
), stuck AS (
    SELECT id FROM abandoned UNION ALL SELECT id FROM exhausted
)
UPDATE susy.checks AS c SET
    state = CASE WHEN c.attempts >= %(max_attempts)s THEN 'quarantined' ELSE 'queued' END,
    finished_at = CASE WHEN c.attempts >= %(max_attempts)s THEN clock_timestamp() END,
    next_attempt_at = CASE WHEN c.state = 'running' THEN clock_timestamp() ELSE c.next_attempt_at END,
    dispatched_at = NULL,
    lease_token = NULL,
    lease_until = NULL,
    error_code = CASE WHEN c.state = 'running' OR c.error_code IS NULL THEN %(code)s ELSE c.error_code END,
    error_message = CASE
        WHEN c.state = 'running' OR c.error_code IS NULL
            THEN format('%%s stopped renewing its lease in attempt %%s', c.worker, c.attempts)
        ELSE c.error_message
    END
FROM stuck WHERE c.id = stuck.id
RETURNING c.state;


-- ==== Recording ======================================================================================================

-- RECORD: end a check with its scan and its verdict, in one statement, which nearly every check needs; all of it, or
-- nothing and no row. It is nothing when the lease was lost, when the check has a verdict of any kind already, when
-- another worker has just stored the same scan, or when the scan that it refers to was deleted: the statements below
-- tell these apart. The row lock comes first and puts concurrent transactions of the same check in order.
WITH held AS MATERIALIZED (
    SELECT c.id FROM susy.checks AS c
    WHERE c.id = %(check_id)s AND c.lease_token = %(lease_token)s
        AND NOT EXISTS (SELECT FROM susy.verdicts AS v WHERE v.check_id = c.id)
    FOR NO KEY UPDATE
), stored AS (
    INSERT INTO susy.scans (
        id, content_sha256, weights_sha256, tiling, precision, model_name, classes, is_demo, width, height, format,
        tiles_total, tiles_scored, corners, contrast, selected, scored, probabilities, map_png, map_sampled,
        map_x_edges, map_y_edges, map_scores, signals
    )
    SELECT
        %(new_scan_id)s, %(content_sha256)s, %(weights_sha256)s, %(tiling)s, %(precision)s, %(model_name)s, %(classes)s,
        %(is_demo)s, %(width)s, %(height)s, %(format)s, %(tiles_total)s, %(tiles_scored)s,
        %(corners)s, %(contrast)s, %(selected)s, %(scored)s, %(probabilities)s, %(map_png)s, %(map_sampled)s,
        %(map_x_edges)s, %(map_y_edges)s, %(map_scores)s, %(signals)s
    FROM held WHERE %(scan_id)s::uuid IS NULL
    ON CONFLICT DO NOTHING
    RETURNING id
), found AS (
    SELECT s.id FROM held CROSS JOIN susy.scans AS s WHERE s.id = %(scan_id)s FOR KEY SHARE OF s
), finished AS (
    UPDATE susy.checks AS c SET
        state = 'done', finished_at = clock_timestamp(), content_sha256 = %(content_sha256)s,
        fetched_etag = %(etag)s, fetched_version_id = %(version_id)s,
        lease_token = NULL, lease_until = NULL, error_code = NULL, error_message = NULL
    FROM (SELECT id FROM stored UNION ALL SELECT id FROM found) AS scan
    WHERE c.id = %(check_id)s
    RETURNING c.id AS check_id, scan.id AS scan_id
)
INSERT INTO susy.verdicts (
    id, check_id, scan_id, policy_name, policy_version, mode, decision, score, class_scores, generator,
    generator_confidence, reasons, needs_review, regions, audit_rate
)
SELECT
    %(lease_token)s, check_id, scan_id, %(policy_name)s, %(policy_version)s, 'live', %(decision)s, %(score)s,
    %(class_scores)s, %(generator)s, %(generator_confidence)s, %(reasons)s, %(needs_review)s, %(regions)s,
    %(audit_rate)s
FROM finished
RETURNING id;

-- FINISH: end a check. First in its transaction: a worker that lost the lease writes nothing, and the row lock puts
-- concurrent transactions of the same check in order.
UPDATE susy.checks SET
    state = 'done', finished_at = clock_timestamp(), content_sha256 = %(content_sha256)s,
    fetched_etag = %(etag)s, fetched_version_id = %(version_id)s,
    lease_token = NULL, lease_until = NULL, error_code = NULL, error_message = NULL
WHERE id = %(check_id)s AND lease_token = %(lease_token)s
RETURNING id;

-- KEEP_POLICY: store the policy version with the first verdict that uses it.
INSERT INTO susy.policies (name, version, document) VALUES (%(name)s, %(version)s, %(document)s)
ON CONFLICT (name, version) DO NOTHING;

-- FIND_SCAN: the scan of a content by these weights in this precision under this tiling.
SELECT
    id, map_png IS NOT NULL AND map_scores IS NOT NULL AS has_map, content_sha256, weights_sha256, tiling, precision,
    model_name, classes, is_demo, width, height, format, corners, contrast, selected, scored, probabilities, map_sampled, signals
FROM susy.scans
WHERE content_sha256 = %(content_sha256)s AND weights_sha256 = %(weights_sha256)s AND tiling = %(tiling)s
    AND precision = %(precision)s;

-- KEEP_SCAN: store a scan. Of two scans of the same content the one with more scored tiles is kept, and a map is never
-- removed. Returns no row when the scan that was there before is kept.
INSERT INTO susy.scans AS kept (
    id, content_sha256, weights_sha256, tiling, precision, model_name, classes, is_demo, width, height, format,
    tiles_total, tiles_scored, corners, contrast, selected, scored, probabilities, map_png, map_sampled,
    map_x_edges, map_y_edges, map_scores, signals
) VALUES (
    %(id)s, %(content_sha256)s, %(weights_sha256)s, %(tiling)s, %(precision)s, %(model_name)s, %(classes)s,
    %(is_demo)s, %(width)s, %(height)s, %(format)s, %(tiles_total)s, %(tiles_scored)s,
    %(corners)s, %(contrast)s, %(selected)s, %(scored)s, %(probabilities)s, %(map_png)s, %(map_sampled)s,
    %(map_x_edges)s, %(map_y_edges)s, %(map_scores)s, %(signals)s
)
ON CONFLICT (content_sha256, weights_sha256, tiling, precision) DO UPDATE SET
    tiles_total = excluded.tiles_total, tiles_scored = excluded.tiles_scored,
    corners = excluded.corners, contrast = excluded.contrast, selected = excluded.selected,
    scored = excluded.scored, probabilities = excluded.probabilities,
    map_png = coalesce(excluded.map_png, kept.map_png), map_sampled = excluded.map_sampled, updated_at = now(),
    map_x_edges = coalesce(excluded.map_x_edges, kept.map_x_edges),
    map_y_edges = coalesce(excluded.map_y_edges, kept.map_y_edges),
    map_scores = coalesce(excluded.map_scores, kept.map_scores),
    signals = coalesce(excluded.signals, kept.signals)
WHERE excluded.tiles_scored > kept.tiles_scored
    OR (excluded.tiles_scored = kept.tiles_scored AND kept.map_png IS NULL AND excluded.map_png IS NOT NULL)
RETURNING id;

-- KEPT_SCAN: the id of the scan that was there before.
SELECT id FROM susy.scans
WHERE content_sha256 = %(content_sha256)s AND weights_sha256 = %(weights_sha256)s AND tiling = %(tiling)s
    AND precision = %(precision)s;

-- HOLD_SCAN: keep a scan from being deleted until the verdict that uses it is committed; no row when it is gone.
SELECT id FROM susy.scans WHERE id = %(id)s FOR KEY SHARE;

-- ADD_MAP: store a map with a scan that has none, or whose map was stored without its numbers.
UPDATE susy.scans SET
    map_png = %(map_png)s, map_x_edges = %(map_x_edges)s, map_y_edges = %(map_y_edges)s, map_scores = %(map_scores)s,
    updated_at = now()
WHERE id = %(id)s AND (map_png IS NULL OR map_scores IS NULL);

-- ADD_VERDICT: store a verdict, unless this policy version has one for the check.
INSERT INTO susy.verdicts (
    id, check_id, scan_id, policy_name, policy_version, mode, decision, score, class_scores, generator,
    generator_confidence, reasons, needs_review, regions, audit_rate
) VALUES (
    %(id)s, %(check_id)s, %(scan_id)s, %(policy_name)s, %(policy_version)s, 'live', %(decision)s, %(score)s,
    %(class_scores)s, %(generator)s, %(generator_confidence)s, %(reasons)s, %(needs_review)s, %(regions)s,
    %(audit_rate)s
)
ON CONFLICT DO NOTHING;

-- ADD_SHADOW_VERDICT: store what a policy version that runs in shadow says, unless it has a verdict for the check.
INSERT INTO susy.verdicts (
    id, check_id, scan_id, policy_name, policy_version, mode, decision, score, class_scores, generator,
    generator_confidence, reasons, needs_review, regions
) VALUES (
    %(id)s, %(check_id)s, %(scan_id)s, %(policy_name)s, %(policy_version)s, 'shadow', %(decision)s, %(score)s,
    %(class_scores)s, %(generator)s, %(generator_confidence)s, %(reasons)s, %(needs_review)s, %(regions)s
)
ON CONFLICT DO NOTHING;

-- PROMOTE_SHADOW: make the shadow verdict that this policy version left before the live one, unless there is a live one.
UPDATE susy.verdicts SET
    id = %(id)s, scan_id = %(scan_id)s, mode = 'live', decision = %(decision)s, score = %(score)s,
    class_scores = %(class_scores)s, generator = %(generator)s, generator_confidence = %(generator_confidence)s,
    reasons = %(reasons)s, needs_review = %(needs_review)s, regions = %(regions)s,
    audit_rate = %(audit_rate)s, created_at = now()
WHERE check_id = %(check_id)s AND policy_name = %(policy_name)s AND policy_version = %(policy_version)s
    AND NOT EXISTS (SELECT FROM susy.verdicts WHERE check_id = %(check_id)s AND mode = 'live');

-- AWAIT_CHECK: wait for a transaction that the server may still be committing after its connection broke.
SELECT state FROM susy.checks WHERE id = %(check_id)s FOR UPDATE;

-- READ_BACK: whether a verdict was recorded under this lease, and whether the lease is still held. A statement of its
-- own, so that its snapshot is younger than the transaction that AWAIT_CHECK waited for.
SELECT
    EXISTS (SELECT FROM susy.verdicts WHERE id = %(lease_token)s AND check_id = %(check_id)s) AS recorded,
    EXISTS (SELECT FROM susy.checks WHERE id = %(check_id)s AND lease_token = %(lease_token)s) AS held;

-- ADD_REVIEW: store what a person decided about a check, by the function that moderators' tools call.
SELECT dashboard.record_review(%(check_id)s, %(decision)s, %(reviewer)s, %(note)s);

-- FOLD_DECISIONS: add up to `limit` changes to the counts per day, and delete them.
WITH taken AS (
    DELETE FROM susy.decision_changes WHERE id = ANY (ARRAY(
        SELECT id FROM susy.decision_changes ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ))
    RETURNING day, source, policy_name, is_demo, decision, generator, policy_version, weights_sha256, precision, tiling,
        score_bin, checks, needs_review
)
INSERT INTO susy.decision_counts AS kept (
    day, source, policy_name, is_demo, decision, generator, policy_version, weights_sha256, precision, tiling,
    score_bin, checks, needs_review
)
SELECT
    day, source, policy_name, is_demo, decision, generator, policy_version, weights_sha256, precision, tiling,
    score_bin, sum(checks), sum(needs_review)
FROM taken
GROUP BY
    day, source, policy_name, is_demo, decision, generator, policy_version, weights_sha256, precision, tiling, score_bin
ON CONFLICT (
    day, source, policy_name, is_demo, decision, generator, policy_version, weights_sha256, precision, tiling, score_bin
) DO UPDATE SET
    checks = kept.checks + excluded.checks, needs_review = kept.needs_review + excluded.needs_review;


-- ==== Policies =======================================================================================================
-- Every configuration of the policies is a numbered revision. The highest number applies, and none is ever changed.

-- POLICY_DOCUMENTS: the stored versions with these names and versions.
SELECT p.name, p.version, p.document FROM susy.policies AS p
JOIN unnest(%(names)s::text[], %(versions)s::text[]) AS wanted (name, version) USING (name, version);

-- POLICY_VERSIONS: every stored version, by name, the youngest first.
SELECT name, version, document, created_at FROM susy.policies ORDER BY name, created_at DESC, version;

-- POLICY_REVISION: the configuration that applies, if its number is above the given one.
SELECT revision, configuration FROM susy.policy_revisions
WHERE revision > %(above)s ORDER BY revision DESC LIMIT 1;

-- POLICY_REVISION_AT: one configuration by its number.
SELECT revision, configuration FROM susy.policy_revisions WHERE revision = %(revision)s;

-- CHANGE_POLICIES: make a configuration the next revision. Of two sessions that changed the same one, the second finds
-- its number taken, and gets no row.
INSERT INTO susy.policy_revisions (revision, configuration, change, changed_by, reason)
VALUES (%(revision)s, %(configuration)s, %(change)s, %(changed_by)s, %(reason)s)
ON CONFLICT (revision) DO NOTHING
RETURNING revision;

-- POLICY_HISTORY: the changes, the youngest first.
SELECT revision, change, changed_by, reason, changed_at FROM susy.policy_revisions
ORDER BY revision DESC LIMIT %(limit)s;


-- ==== Reading one check ==============================================================================================

-- SHOW_CHECK: a check's columns.
SELECT
    id AS check_id, source, external_id, uri, lane, policy, attributes, state, attempts, created_at, next_attempt_at,
    dispatched_at, started_at, finished_at, expires_at, worker, error_code, error_message, etag, version_id,
    fetched_etag, fetched_version_id
FROM susy.checks WHERE id = %(check_id)s;

-- FIND_CHECK: the check that was accepted under a key.
SELECT id FROM susy.checks WHERE source = %(source)s AND external_id = %(external_id)s;

-- FINISHED: which of these checks have ended.
SELECT id FROM susy.checks WHERE id = ANY(%(check_ids)s) AND state NOT IN ('queued', 'running');

-- SHOW_VERDICT: its live verdict.
SELECT
    scan_id, decision, score, class_scores, generator, generator_confidence, reasons, needs_review, regions,
    policy_name, policy_version
FROM susy.verdicts WHERE check_id = %(check_id)s AND mode = 'live';

-- SHOW_SCAN: the scan of its verdict.
SELECT
    id, map_png IS NOT NULL AS has_map, content_sha256, weights_sha256, tiling, precision, model_name, classes, is_demo,
    width, height, format, corners, contrast, selected, scored, probabilities, map_sampled, signals
FROM susy.scans WHERE id = %(scan_id)s;

-- SHOW_MAP: the map of that scan.
SELECT map_png FROM susy.scans WHERE id = %(scan_id)s AND map_png IS NOT NULL;


-- ==== Operating the backlog ==========================================================================================

-- LANE_STATUS: the backlog of a lane, without reading all of it. Waiting checks are counted up to a bound; beyond it
-- the length is estimated from the size of the lane's index and the number of rows that Postgres last found per page.
WITH RECURSIVE sources (source, due_at) AS (
    (
        SELECT source, next_attempt_at FROM susy.checks
        WHERE state = 'queued' AND dispatched_at IS NULL AND lane = %(lane)s
        ORDER BY source, next_attempt_at LIMIT 1
    )
    UNION ALL
    SELECT following.source, following.next_attempt_at FROM sources AS s CROSS JOIN LATERAL (
        SELECT source, next_attempt_at FROM susy.checks
        WHERE state = 'queued' AND dispatched_at IS NULL AND lane = %(lane)s AND source > s.source
        ORDER BY source, next_attempt_at LIMIT 1
    ) AS following
), dispatched AS (
    SELECT count(*) AS checks, min(next_attempt_at) AS due_at FROM susy.checks
    WHERE state = 'queued' AND dispatched_at IS NOT NULL AND lane = %(lane)s
), heads AS (
    SELECT due_at FROM sources
    UNION ALL
    SELECT due_at FROM dispatched
), recent AS (
    SELECT count(*) AS done, extract(epoch FROM now() - min(finished_at)) AS age
    FROM susy.checks
    WHERE state = 'done' AND lane = %(lane)s AND finished_at > now() - make_interval(secs => %(window)s)
)
SELECT
    %(lane)s::text AS lane,
    (
        SELECT count(*) FROM (
            SELECT FROM susy.checks
            WHERE state = 'queued' AND dispatched_at IS NULL AND lane = %(lane)s LIMIT %(exact_up_to)s
        ) AS counted
    ) AS waiting,
    (
        SELECT greatest(reltuples, 0) / greatest(relpages, 1)
            * (pg_relation_size(oid) / current_setting('block_size')::int)
        FROM pg_class WHERE oid = ('susy.ix_checks_waiting_' || %(lane)s)::regclass
    )::bigint AS estimate,
    (SELECT checks FROM dispatched) AS dispatched,
    (SELECT count(*) FROM susy.checks WHERE state = 'running' AND lane = %(lane)s) AS running,
    (SELECT done * 60 / greatest(60, age) FROM recent)::float8 AS done_per_minute,
    (SELECT extract(epoch FROM now() - min(due_at)) FROM heads)::float8 AS oldest_age,
    (SELECT paused_at FROM susy.paused_lanes WHERE lane = %(lane)s) AS paused_at;

-- QUARANTINED: how many checks are quarantined, by code; of each code at most `up_to` are counted, so that what was set
-- aside over the years does not slow the answer down. Codes are found by one index step each.
WITH RECURSIVE codes (code) AS (
    (SELECT error_code FROM susy.checks WHERE state = 'quarantined' ORDER BY error_code LIMIT 1)
    UNION ALL
    SELECT (
        SELECT error_code FROM susy.checks WHERE state = 'quarantined' AND error_code > c.code
        ORDER BY error_code LIMIT 1
    ) FROM codes AS c WHERE c.code IS NOT NULL
)
SELECT codes.code, counted.checks FROM codes CROSS JOIN LATERAL (
    SELECT count(*) AS checks FROM (
        SELECT FROM susy.checks WHERE state = 'quarantined' AND error_code = codes.code LIMIT %(up_to)s
    ) AS found
) AS counted
WHERE codes.code IS NOT NULL ORDER BY counted.checks DESC, codes.code;

-- EXPIRED: how many checks have expired, counted up to `up_to`.
SELECT count(*) FROM (SELECT FROM susy.checks WHERE state = 'expired' LIMIT %(up_to)s) AS found;

-- REJECTED_MESSAGES: how many messages were rejected, counted up to `up_to`.
SELECT count(*) FROM (SELECT FROM susy.rejected_messages LIMIT %(up_to)s) AS found;

-- COUNT_CHECKS: how many checks of a state match a filter. `dispatched` is null, or restricts queued checks to those
-- that were or were not dispatched. The times are those of acceptance for queued checks, of the end for others.
SELECT count(*) FROM susy.checks
WHERE state = %(state)s
    AND (%(dispatched)s::boolean IS NULL OR (dispatched_at IS NOT NULL) = %(dispatched)s)
    AND (%(lane)s::text IS NULL OR lane = %(lane)s)
    AND (%(check_ids)s::uuid[] IS NULL OR id = ANY (%(check_ids)s))
    AND (%(code)s::text IS NULL OR error_code = %(code)s)
    AND (%(source)s::text IS NULL OR source = %(source)s)
    AND (%(since)s::timestamptz IS NULL
        OR CASE WHEN %(state)s = 'queued' THEN created_at ELSE finished_at END >= %(since)s)
    AND (%(until)s::timestamptz IS NULL
        OR CASE WHEN %(state)s = 'queued' THEN created_at ELSE finished_at END <= %(until)s);

-- REQUEUE: queue up to `limit` of them again, with all their attempts. A deadline that has passed is removed: whoever
-- requeues a check wants its verdict. Rows that others have locked are skipped. The audit log names up to 100 checks.
WITH changed AS (
    UPDATE susy.checks SET
        state = 'queued', attempts = 0, next_attempt_at = clock_timestamp(), dispatched_at = NULL, finished_at = NULL,
        expires_at = CASE WHEN expires_at > clock_timestamp() THEN expires_at END
    WHERE id = ANY (ARRAY(
        SELECT id FROM susy.checks
        WHERE state = %(state)s
            AND (%(lane)s::text IS NULL OR lane = %(lane)s)
            AND (%(check_ids)s::uuid[] IS NULL OR id = ANY (%(check_ids)s))
            AND (%(code)s::text IS NULL OR error_code = %(code)s)
            AND (%(source)s::text IS NULL OR source = %(source)s)
            AND (%(since)s::timestamptz IS NULL OR finished_at >= %(since)s)
            AND (%(until)s::timestamptz IS NULL OR finished_at <= %(until)s)
        LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
    ))
    RETURNING id
), noted AS (
    INSERT INTO susy.operations (kind, action, subject, details)
    SELECT
        'checks', 'retry', count(*)::text,
        jsonb_build_object('state', %(state)s::text, 'source', %(source)s::text, 'code', %(code)s::text)
        || CASE WHEN count(*) <= 100 THEN jsonb_build_object('check_ids', jsonb_agg(id)) ELSE '{}' END
    FROM changed HAVING count(*) > 0
)
SELECT count(*) FROM changed;

-- CANCEL: cancel up to `limit` queued checks. Rows that others have locked are skipped.
WITH changed AS (
    UPDATE susy.checks SET state = 'cancelled', finished_at = clock_timestamp() WHERE id = ANY (ARRAY(
        SELECT id FROM susy.checks
        WHERE state = 'queued'
            AND (dispatched_at IS NOT NULL) = %(dispatched)s
            AND (%(lane)s::text IS NULL OR lane = %(lane)s)
            AND (%(check_ids)s::uuid[] IS NULL OR id = ANY (%(check_ids)s))
            AND (%(code)s::text IS NULL OR error_code = %(code)s)
            AND (%(source)s::text IS NULL OR source = %(source)s)
            AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
            AND (%(until)s::timestamptz IS NULL OR created_at <= %(until)s)
        LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
    ))
    RETURNING id
), noted AS (
    INSERT INTO susy.operations (kind, action, subject, details)
    SELECT
        'checks', 'cancel', count(*)::text,
        jsonb_build_object('source', %(source)s::text, 'code', %(code)s::text)
        || CASE WHEN count(*) <= 100 THEN jsonb_build_object('check_ids', jsonb_agg(id)) ELSE '{}' END
    FROM changed HAVING count(*) > 0
)
SELECT count(*) FROM changed;

-- PAUSE_LANE: keep the checks of a lane from being claimed and dispatched.
INSERT INTO susy.paused_lanes (lane) VALUES (%(lane)s) ON CONFLICT (lane) DO NOTHING;

-- RESUME_LANE: let them be claimed and dispatched again.
DELETE FROM susy.paused_lanes WHERE lane = %(lane)s;

-- OLDEST_DUE_AGE: for how many seconds the longest-waiting check of a source in a lane has been due; null when none is,
-- or when the lane is paused. Those that were sent to Redis are few.
SELECT extract(epoch FROM now() - min(due_at))::float8 FROM (
    (
        SELECT next_attempt_at AS due_at FROM susy.checks
        WHERE state = 'queued' AND dispatched_at IS NULL AND lane = %(lane)s AND source = %(source)s
        ORDER BY next_attempt_at LIMIT 1
    )
    UNION ALL
    SELECT min(next_attempt_at) FROM susy.checks
    WHERE state = 'queued' AND dispatched_at IS NOT NULL AND lane = %(lane)s AND source = %(source)s
) AS heads
WHERE due_at <= now() AND %(lane)s NOT IN (SELECT lane FROM susy.paused_lanes);

-- WORKER_ACTIVITY: how many checks the workers of a host hold, how many seconds ago they last began one, null for longer
-- than the window, and for how long the longest-waiting check that was sent to a lane's queue has been due; lanes that are
-- paused do not count. What a worker began in the window is still running, ended in the window, or waits for its next
-- attempt: each has its index. (These serve conditions on now(), which is stable, and not on clock_timestamp().)
WITH begun (started_at) AS (
    SELECT started_at FROM susy.checks WHERE state = 'running' AND starts_with(worker, %(host)s || ':')
    UNION ALL
    SELECT started_at FROM susy.checks
    WHERE state = 'done' AND lane IN ('live', 'backfill') AND starts_with(worker, %(host)s || ':')
        AND finished_at > now() - make_interval(secs => %(window)s)
    UNION ALL
    SELECT started_at FROM susy.checks
    WHERE state = 'quarantined' AND starts_with(worker, %(host)s || ':')
        AND finished_at > now() - make_interval(secs => %(window)s)
    UNION ALL
    SELECT started_at FROM susy.checks
    WHERE state = 'queued' AND attempts > 0 AND starts_with(worker, %(host)s || ':')
)
SELECT
    (
        SELECT count(*) FROM susy.checks WHERE state = 'running' AND starts_with(worker, %(host)s || ':')
    ) AS running,
    (
        SELECT extract(epoch FROM now() - max(started_at)) FROM begun
        WHERE started_at > now() - make_interval(secs => %(window)s)
    )::float8 AS last_claim_age,
    (
        SELECT extract(epoch FROM now() - min(next_attempt_at)) FROM susy.checks
        WHERE state = 'queued' AND dispatched_at IS NOT NULL AND lane = ANY (%(lanes)s)
            AND lane NOT IN (SELECT lane FROM susy.paused_lanes)
            AND next_attempt_at <= now()
    )::float8 AS oldest_due_age;

-- ANALYZE: refresh the planner's statistics, which LANE_STATUS estimates from, after an import.
ANALYZE susy.checks;

-- NOW: the database's clock.
SELECT clock_timestamp();
