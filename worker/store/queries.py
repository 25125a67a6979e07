"""The store's statements, in the order of a check's life; `backlog_queries` has the rest. Time is the database's."""

from __future__ import annotations

# --- Connections -----------------------------------------------------------------------------------------------------

# A client that freezes inside a transaction must not hold its row locks for ever.
CONFIGURE = """
SELECT
    set_config('TimeZone', 'UTC', false),
    set_config('statement_timeout', %(timeout)s, false),
    set_config('idle_in_transaction_session_timeout', %(timeout)s, false)
"""

PING = "SELECT 1"

TRY_LOCK = "SELECT pg_try_advisory_lock(%(space)s::int, %(key)s::int)"

UNLOCK = "SELECT pg_advisory_unlock(%(space)s::int, %(key)s::int)"

# --- Submitting ------------------------------------------------------------------------------------------------------

SUBMIT = """
INSERT INTO susy.checks (id, source, external_id, uri, lane, policy, attributes)
SELECT id, source, external_id, uri, lane, policy, attributes::jsonb
FROM unnest(
    %(ids)s::uuid[], %(sources)s::text[], %(external_ids)s::text[], %(uris)s::text[], %(lanes)s::text[],
    %(policies)s::text[], %(attributes)s::text[]
) AS given (id, source, external_id, uri, lane, policy, attributes)
ON CONFLICT (source, external_id) DO NOTHING
RETURNING id
"""

# A second statement, because the first one's snapshot does not show what another session has just committed.
ACCEPTED_BEFORE = """
SELECT source, external_id, id AS check_id, uri FROM susy.checks
WHERE (source, external_id) IN (SELECT * FROM unnest(%(sources)s::text[], %(external_ids)s::text[]))
"""

# What is locked is being claimed, and needs no mark any more.
MARK_DISPATCHED = """
UPDATE susy.checks SET dispatched_at = clock_timestamp()
WHERE id IN (
    SELECT id FROM susy.checks WHERE id = ANY(%(check_ids)s) AND state = 'queued' FOR NO KEY UPDATE SKIP LOCKED
)
"""

# --- Holding a lease -------------------------------------------------------------------------------------------------

# A claimer that had to wait for another's row lock sees the other's lease and matches nothing.
CLAIM = """
UPDATE susy.checks SET
    state = 'running',
    attempts = attempts + 1,
    lease_token = gen_random_uuid(),
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
    worker = %(worker)s,
    started_at = clock_timestamp()
WHERE id = %(check_id)s
    AND attempts < %(max_attempts)s
    AND (
        (
            state = 'queued' AND next_attempt_at <= clock_timestamp()
            AND (%(suspects)s OR error_code IS NULL OR error_code <> ALL(%(deadly)s))
        )
        OR (state = 'running' AND lease_until < clock_timestamp() AND %(suspects)s)
    )
RETURNING id AS check_id, lease_token, attempts AS attempt, source, external_id, uri, lane, policy
"""

IS_SUSPECT = """
SELECT EXISTS (
    SELECT FROM susy.checks
    WHERE id = %(check_id)s
        AND (
            (state = 'queued' AND next_attempt_at <= clock_timestamp() AND error_code = ANY(%(deadly)s))
            OR (state = 'running' AND lease_until < clock_timestamp())
        )
)
"""

RENEW = """
UPDATE susy.checks AS c SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM (
    SELECT id FROM susy.checks AS held
    JOIN unnest(%(check_ids)s::uuid[], %(lease_tokens)s::uuid[]) AS ours (check_id, lease_token)
        ON held.id = ours.check_id AND held.lease_token = ours.lease_token
    WHERE held.state = 'running'
    ORDER BY id FOR NO KEY UPDATE OF held
) AS still
WHERE c.id = still.id
RETURNING c.id
"""

# Give the check back as it was before the claim.
RELEASE = """
UPDATE susy.checks SET
    state = 'queued', attempts = attempts - 1, next_attempt_at = clock_timestamp(), dispatched_at = NULL,
    lease_token = NULL, lease_until = NULL
WHERE id = %(check_id)s AND state = 'running' AND lease_token = %(lease_token)s
"""

RETRY_LATER = """
UPDATE susy.checks SET
    state = 'queued', next_attempt_at = clock_timestamp() + make_interval(secs => %(retry_in)s), dispatched_at = NULL,
    lease_token = NULL, lease_until = NULL, error_code = %(code)s, error_message = %(message)s
WHERE id = %(check_id)s AND state = 'running' AND lease_token = %(lease_token)s
"""

QUARANTINE = """
UPDATE susy.checks SET
    state = 'quarantined', finished_at = clock_timestamp(),
    lease_token = NULL, lease_until = NULL, error_code = %(code)s, error_message = %(message)s
WHERE id = %(check_id)s AND state = 'running' AND lease_token = %(lease_token)s
"""

# --- Recording -------------------------------------------------------------------------------------------------------

# First in its transaction: whoever lost the lease writes nothing, and the row lock orders what follows.
FINISH = """
UPDATE susy.checks SET
    state = 'done', finished_at = clock_timestamp(), content_sha256 = %(content_sha256)s,
    lease_token = NULL, lease_until = NULL, error_code = NULL, error_message = NULL
WHERE id = %(check_id)s AND state = 'running' AND lease_token = %(lease_token)s
"""

KEEP_POLICY = """
INSERT INTO susy.policies (name, version, document) VALUES (%(name)s, %(version)s, %(document)s)
ON CONFLICT (name, version) DO NOTHING
"""

# The scan that knows more tiles stays; a map once drawn is not lost.
KEEP_SCAN = """
INSERT INTO susy.scans AS kept (
    id, content_sha256, weights_sha256, tiling, model_name, classes, is_demo, width, height, format,
    tiles_total, tiles_scored, corners, contrast, selected, scored, probabilities, map_png
) VALUES (
    %(id)s, %(content_sha256)s, %(weights_sha256)s, %(tiling)s, %(model_name)s, %(classes)s, %(is_demo)s,
    %(width)s, %(height)s, %(format)s, %(tiles_total)s, %(tiles_scored)s,
    %(corners)s, %(contrast)s, %(selected)s, %(scored)s, %(probabilities)s, %(map_png)s
)
ON CONFLICT (content_sha256, weights_sha256, tiling) DO UPDATE SET
    tiles_total = excluded.tiles_total, tiles_scored = excluded.tiles_scored,
    corners = excluded.corners, contrast = excluded.contrast, selected = excluded.selected,
    scored = excluded.scored, probabilities = excluded.probabilities,
    map_png = coalesce(excluded.map_png, kept.map_png), updated_at = now()
WHERE excluded.tiles_scored > kept.tiles_scored
    OR (excluded.tiles_scored = kept.tiles_scored AND kept.map_png IS NULL AND excluded.map_png IS NOT NULL)
RETURNING id
"""

KEPT_SCAN = """
SELECT id FROM susy.scans
WHERE content_sha256 = %(content_sha256)s AND weights_sha256 = %(weights_sha256)s AND tiling = %(tiling)s
"""

ADD_MAP = "UPDATE susy.scans SET map_png = %(map_png)s, updated_at = now() WHERE id = %(id)s AND map_png IS NULL"

ADD_VERDICT = """
INSERT INTO susy.verdicts (
    id, check_id, scan_id, policy_name, policy_version, mode, decision, score, class_scores, generator,
    generator_confidence, reasons, needs_review, regions
) VALUES (
    %(id)s, %(check_id)s, %(scan_id)s, %(policy_name)s, %(policy_version)s, 'live', %(decision)s, %(score)s,
    %(class_scores)s, %(generator)s, %(generator_confidence)s, %(reasons)s, %(needs_review)s, %(regions)s
)
ON CONFLICT DO NOTHING
"""

# The same policy ran in shadow before: its verdict now counts, unless another one already does.
PROMOTE_SHADOW = """
UPDATE susy.verdicts SET
    id = %(id)s, scan_id = %(scan_id)s, mode = 'live', decision = %(decision)s, score = %(score)s,
    class_scores = %(class_scores)s, generator = %(generator)s, generator_confidence = %(generator_confidence)s,
    reasons = %(reasons)s, needs_review = %(needs_review)s, regions = %(regions)s, created_at = now()
WHERE check_id = %(check_id)s AND policy_name = %(policy_name)s AND policy_version = %(policy_version)s
    AND NOT EXISTS (SELECT FROM susy.verdicts WHERE check_id = %(check_id)s AND mode = 'live')
"""

# Waits for a transaction of ours that the server may still be committing.
AWAIT_CHECK = "SELECT state FROM susy.checks WHERE id = %(check_id)s FOR UPDATE"

# A separate statement, so that its snapshot is younger than what was waited for.
READ_BACK = """
SELECT
    EXISTS (SELECT FROM susy.verdicts WHERE id = %(lease_token)s AND check_id = %(check_id)s) AS recorded,
    EXISTS (SELECT FROM susy.checks WHERE id = %(check_id)s AND lease_token = %(lease_token)s) AS held
"""

# --- Reconciling -----------------------------------------------------------------------------------------------------

RECLAIM_EXPIRED = """
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
RETURNING c.state
"""

# --- Operating -------------------------------------------------------------------------------------------------------

REJECT_MESSAGE = """
INSERT INTO susy.rejected_messages (task, body, code, message) VALUES (%(task)s, %(body)s, %(code)s, %(message)s)
"""

ADD_REVIEW = """
INSERT INTO susy.reviews (id, check_id, reviewer, decision, note)
VALUES (%(id)s, %(check_id)s, %(reviewer)s, %(decision)s, %(note)s)
"""

# --- Reading ---------------------------------------------------------------------------------------------------------

_SCAN = """
SELECT
    id, map_png IS NOT NULL AS has_map, content_sha256, weights_sha256, tiling, model_name, classes, is_demo,
    width, height, format, corners, contrast, selected, scored, probabilities
FROM susy.scans
"""

FIND_SCAN = f"""{_SCAN}
WHERE content_sha256 = %(content_sha256)s AND weights_sha256 = %(weights_sha256)s AND tiling = %(tiling)s
"""

SHOW_SCAN = f"{_SCAN} WHERE id = %(scan_id)s"

SHOW_MAP = "SELECT map_png FROM susy.scans WHERE id = %(scan_id)s AND map_png IS NOT NULL"

SHOW_CHECK = """
SELECT
    id AS check_id, source, external_id, uri, lane, policy, attributes, state, attempts, created_at, next_attempt_at,
    dispatched_at, started_at, finished_at, worker, error_code, error_message
FROM susy.checks WHERE id = %(check_id)s
"""

SHOW_VERDICT = """
SELECT
    scan_id, decision, score, class_scores, generator, generator_confidence, reasons, needs_review, regions,
    policy_name, policy_version
FROM susy.verdicts WHERE check_id = %(check_id)s AND mode = 'live'
"""
