-- The id comes from the queue's own table, so that a page that begins after a key is found by the index of the order.
CREATE OR REPLACE VIEW dashboard.review_queue AS
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
