-- Reviews beyond the one of a single check, which is ADD_REVIEW in queries.sql. Read by `queries.py` as that file is. What
-- counts, what is undone, what waits and who is given it is decided by the functions of schema/reviews.sql, claims.sql,
-- bulk_reviews.sql and review_queue.sql.


-- ==== Claims =========================================================================================================

-- CLAIM_REVIEW: the next check for a moderator; repeated with the same request, the same claim.
SELECT * FROM susy.claim_review(%(moderator)s, %(filters)s, %(seconds)s, %(request_id)s);

-- HELD_CLAIMS: what a moderator holds.
SELECT * FROM dashboard.held_claims(%(moderator)s);

-- REQUIRE_CLAIM: raises unless the moderator holds this claim; its check.
SELECT check_id FROM susy.held_claim(%(claim_id)s, %(moderator)s);

-- DECIDE_CLAIM: the review's id.
SELECT dashboard.decide_claim(%(claim_id)s, %(moderator)s, %(decision)s, %(note)s);

-- EXTEND_CLAIM: when it ends then.
SELECT dashboard.extend_claim(%(claim_id)s, %(moderator)s, %(seconds)s);

-- SKIP_CLAIM: give it back, and say why.
SELECT dashboard.skip_claim(%(claim_id)s, %(moderator)s, %(reason)s);

-- RELEASE_CLAIM: give it back.
SELECT dashboard.release_claim(%(claim_id)s, %(moderator)s);

-- REQUESTED_REVIEW: as ADD_REVIEW; repeated with the same request, the same review.
SELECT susy.record_decision(%(check_id)s, %(decision)s, %(reviewer)s, %(note)s, NULL, %(request_id)s);

-- UNDO_OWN_REVIEW: let a review of one's own not count any more.
SELECT dashboard.undo_review(%(review_id)s, %(reviewer)s, %(reason)s);

-- REVIEWED_SOURCES: those of the checks of a claim, a review or a bulk review.
SELECT * FROM susy.reviewed_sources(%(target)s);


-- ==== The queue ======================================================================================================

-- REVIEW_QUEUE: a page of the queue, and the place to continue from.
SELECT susy.list_review_queue(%(filters)s, %(after)s, %(limit)s);

-- COUNT_REVIEW_QUEUE: how many wait, by why they do, and since when.
SELECT why, checks, is_capped, oldest FROM susy.count_review_queue(%(sources)s::text[]);


-- ==== Bulk reviews ===================================================================================================

-- COUNT_FOR_REVIEW: how many match, by source and decision of the verdict.
SELECT source, decision, checks FROM susy.count_for_review(%(filters)s);

-- REVIEW_IN_BULK: how many were reviewed.
SELECT susy.review_in_bulk(
    %(batch_id)s, %(filters)s, %(decision)s, %(reviewer)s, %(note)s, %(limit)s, %(most)s
);

-- UNDO_REVIEWS: undo a review, or what is left of a bulk review, by its id.
SELECT u.undo_id, u.reviews FROM susy.undo_reviews(%(target)s, %(by)s, %(reason)s) AS u;


-- LIST_REVIEWS: up to `limit` reviews of a check after the given one, in the order in which they were added.
SELECT r.id, r.reviewer, r.decision, r.note, r.created_at, r.batch_id, r.undone_at
FROM dashboard.reviews AS r
WHERE r.check_id = %(check_id)s AND (%(after)s::uuid IS NULL OR (r.created_at, r.id) > (
    SELECT b.created_at, b.id FROM dashboard.reviews AS b WHERE b.id = %(after)s AND b.check_id = %(check_id)s
))
ORDER BY r.created_at, r.id LIMIT %(limit)s;


-- ==== Reviewers ======================================================================================================

-- REVIEWER_AGREEMENT: of each two people, and of all of them.
SELECT reviewer, other_reviewer, reviewers, checks, agreement, cohens_kappa, krippendorffs_alpha
FROM susy.reviewer_agreement(%(since)s::timestamptz, %(source)s::text)
ORDER BY reviewer IS NULL DESC, checks DESC, reviewer, other_reviewer;

-- REVIEWER_ACCURACY: how often people were right about golden items.
SELECT reviewer, answers, correct, inconclusive, accuracy, accuracy_low, accuracy_high
FROM dashboard.reviewer_accuracy ORDER BY answers DESC, reviewer;

-- GOLDEN_ITEMS: the checks whose answer is known, and how often it was given.
SELECT
    g.check_id, g.decision, c.source, c.uri,
    count(a.id) FILTER (WHERE a.decision IS NOT NULL) AS answers,
    count(a.id) FILTER (WHERE a.decision = a.expected) AS correct
FROM susy.golden_items AS g
JOIN susy.checks AS c ON c.id = g.check_id
LEFT JOIN susy.golden_answers AS a
    ON a.check_id = g.check_id AND NOT EXISTS (SELECT FROM susy.golden_answers AS u WHERE u.undoes = a.id)
GROUP BY g.check_id, g.decision, c.source, c.uri ORDER BY g.check_id;

-- GOLDEN_STATE: what a check was decided to be by a person, what it is known to be, and whether it is one that a policy
-- lets wait for a review, as all others among which it would be hidden.
SELECT
    EXISTS (
        SELECT FROM susy.verdicts AS v
        WHERE v.check_id = c.id AND v.mode = 'live' AND (v.needs_review OR v.audit_rate IS NOT NULL)
    ) AS is_usual,
    (SELECT r.decision FROM susy.counted_reviews AS r WHERE r.check_id = c.id) AS reviewed,
    (SELECT g.decision FROM susy.golden_items AS g WHERE g.check_id = c.id) AS known
FROM susy.checks AS c WHERE c.id = %(check_id)s FOR NO KEY UPDATE OF c;

-- CHANGE_GOLDEN: let a check be a golden item of this decision, or with null not any more.
INSERT INTO susy.golden_changes (check_id, decision, changed_by, reason, created_at)
VALUES (%(check_id)s, %(decision)s, susy.person(%(by)s, 'say who'), %(reason)s, clock_timestamp());
