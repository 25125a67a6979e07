-- Deleting checks that ended long ago, and what belongs to them. `queries.py` reads this file with `queries.sql`.
--
-- Each batch is one transaction of the statements below, in their order. Children are deleted before their parents.

-- PRUNE_CANDIDATES: the next checks of a state that ended before a time, the oldest first. Nothing is locked.
SELECT id, finished_at FROM susy.checks
WHERE state = %(state)s AND (%(lane)s::text IS NULL OR lane = %(lane)s)
    AND finished_at < %(before)s AND finished_at >= %(after)s AND (finished_at, id) > (%(after)s, %(after_id)s)
ORDER BY finished_at, id LIMIT %(limit)s;

-- PRUNE_LOCK: lock those of them that have not been queued again. Rows that others have locked are skipped.
SELECT id FROM susy.checks
WHERE id = ANY (%(check_ids)s) AND state = %(state)s AND finished_at < %(before)s FOR UPDATE SKIP LOCKED;

-- PRUNE_CONFIRM: of those that are locked, the ones to delete. A statement of its own, whose snapshot shows reviews that
-- were added before the lock. A check stays while a callback of it waits or an event of it has no position, and while a
-- person or a test relies on it.
SELECT id FROM susy.checks AS c
WHERE id = ANY (%(check_ids)s)
    AND (%(source)s::text IS NULL OR source = %(source)s)
    AND NOT EXISTS (SELECT FROM susy.deliveries AS d WHERE d.check_id = c.id AND d.state = 'pending')
    AND NOT EXISTS (SELECT FROM susy.events AS e WHERE e.check_id = c.id AND e.position IS NULL)
    AND NOT EXISTS (SELECT FROM susy.cases AS k WHERE k.check_id = c.id)
    AND NOT EXISTS (SELECT FROM susy.golden_changes AS g WHERE g.check_id = c.id)
    AND NOT EXISTS (SELECT FROM susy.golden_answers AS g WHERE g.check_id = c.id)
    AND NOT EXISTS (SELECT FROM susy.open_claims AS o WHERE o.check_id = c.id)
    AND NOT (%(keep_waiting)s AND EXISTS (SELECT FROM susy.review_items AS i WHERE i.check_id = c.id))
    AND NOT (%(keep_reviewed)s AND EXISTS (SELECT FROM susy.reviews AS r WHERE r.check_id = c.id))
    AND NOT EXISTS (SELECT FROM susy.counted_reviews AS r WHERE r.check_id = c.id AND r.decision = ANY (%(keep_decisions)s))
    AND NOT EXISTS (
        SELECT FROM susy.verdicts AS v
        WHERE v.check_id = c.id AND v.mode = 'live' AND v.decision = ANY (%(keep_decisions)s)
    );

-- PRUNE_DELIVERIES: delete the callbacks of these checks.
DELETE FROM susy.deliveries WHERE check_id = ANY (%(check_ids)s);

-- PRUNE_EVENTS: delete their events.
DELETE FROM susy.events WHERE check_id = ANY (%(check_ids)s);

-- PRUNE_ALLOW: let this transaction delete from tables that are otherwise only added to.
SELECT set_config('susy.pruning', 'on', true);

-- PRUNE_CLAIMS: delete who claimed them for a review.
DELETE FROM susy.review_claims WHERE check_id = ANY (%(check_ids)s);

-- PRUNE_UNDONE_REVIEWS: delete which of their reviews were undone.
DELETE FROM susy.undone_reviews WHERE check_id = ANY (%(check_ids)s);

-- PRUNE_REVIEWS: delete what people decided about them.
DELETE FROM susy.reviews WHERE check_id = ANY (%(check_ids)s);

-- PRUNE_VERDICTS: delete their verdicts; the scans that these were made from.
DELETE FROM susy.verdicts WHERE check_id = ANY (%(check_ids)s) RETURNING scan_id;

-- PRUNE_CHECKS: delete them.
DELETE FROM susy.checks WHERE id = ANY (%(check_ids)s);

-- PRUNE_LOCK_SCANS: lock those scans. A worker that is about to use one has locked it; it is skipped and will be used.
SELECT id FROM susy.scans WHERE id = ANY (%(scan_ids)s) FOR UPDATE SKIP LOCKED;

-- PRUNE_SCANS: delete those that no other verdict uses, with their maps. A statement of its own, whose snapshot shows
-- verdicts that were added before the lock.
DELETE FROM susy.scans AS s WHERE id = ANY (%(scan_ids)s)
    AND NOT EXISTS (SELECT FROM susy.verdicts AS v WHERE v.scan_id = s.id);

-- NOTE_PRUNED: say in the audit log what the batch deleted.
INSERT INTO susy.operations (kind, action, subject, details)
VALUES ('prune', 'prune', %(checks)s::text, %(details)s);
