-- Reviews beyond the one of a single check, which is ADD_REVIEW in queries.sql. Read by `queries.py` as that file is. What
-- counts, what is undone and what waits is decided by the functions of schema/reviews.sql.


-- ==== Bulk reviews ===================================================================================================

-- Part MATCHING: the checks that have ended and match a filter, `c`, with their live verdicts, `v`.
FROM susy.checks AS c
LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
WHERE c.state NOT IN ('queued', 'running')
    AND (%(state)s::text IS NULL OR c.state = %(state)s)
    AND (%(source)s::text IS NULL OR c.source = %(source)s)
    AND (%(since)s::timestamptz IS NULL OR c.created_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR c.created_at <= %(until)s)
    AND (%(decision)s::text IS NULL OR v.decision = %(decision)s)
    AND (%(policy)s::text IS NULL OR v.policy_name = %(policy)s)
    AND (%(generator)s::text IS NULL OR v.generator = %(generator)s)
    AND (%(min_score)s::float8 IS NULL OR v.score >= %(min_score)s)
    AND (%(max_score)s::float8 IS NULL OR v.score <= %(max_score)s)
    AND (%(reviewed_too)s OR NOT EXISTS (SELECT FROM susy.counted_reviews AS r WHERE r.check_id = c.id))

-- MATCH_FOR_REVIEW: up to `limit` checks that have ended and match, locked in the order of their ids, so that no two
-- sessions wait for each other in a circle.
SELECT c.id
:MATCHING
ORDER BY c.id LIMIT %(limit)s FOR NO KEY UPDATE OF c;

-- COUNT_FOR_REVIEW: how many match, by source and decision of the verdict.
SELECT c.source, v.decision, count(*) AS checks
:MATCHING
GROUP BY c.source, v.decision ORDER BY count(*) DESC, c.source, v.decision;

-- STILL_UNREVIEWED: those of the locked checks that nobody has reviewed. A statement of its own, whose snapshot shows the
-- reviews that the locks were waited for.
SELECT c.id FROM unnest(%(check_ids)s::uuid[]) AS c (id)
WHERE NOT EXISTS (SELECT FROM susy.counted_reviews AS r WHERE r.check_id = c.id);

-- ADD_BATCH: the bulk review itself.
INSERT INTO susy.review_batches (id, reviewer, decision, note, filters, reviews, created_at)
VALUES (%(id)s, %(reviewer)s, %(decision)s, %(note)s, %(filters)s, %(reviews)s, clock_timestamp());

-- ADD_BATCH_REVIEWS: one review for each of its checks.
INSERT INTO susy.reviews (id, check_id, reviewer, decision, note, content_sha256, batch_id, created_at)
SELECT
    gen_random_uuid(), c.id, %(reviewer)s, %(decision)s, %(note)s, c.content_sha256, %(id)s, clock_timestamp()
FROM susy.checks AS c WHERE c.id = ANY (%(check_ids)s);

-- UNDO_REVIEWS: undo a review, or what is left of a bulk review, by its id.
SELECT u.undo_id, u.reviews FROM susy.undo_reviews(%(target)s, %(by)s, %(reason)s) AS u;


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

-- GOLDEN_STATE: what a check was decided to be by a person, and what it is known to be.
SELECT
    (SELECT r.decision FROM susy.counted_reviews AS r WHERE r.check_id = c.id) AS reviewed,
    (SELECT g.decision FROM susy.golden_items AS g WHERE g.check_id = c.id) AS known
FROM susy.checks AS c WHERE c.id = %(check_id)s FOR NO KEY UPDATE OF c;

-- CHANGE_GOLDEN: let a check be a golden item of this decision, or with null not any more.
INSERT INTO susy.golden_changes (check_id, decision, changed_by, reason, created_at)
VALUES (%(check_id)s, %(decision)s, %(by)s, %(reason)s, clock_timestamp());
