-- How reviews are counted, undone and queued; `claims.sql` and `bulk_reviews.sql` follow. Private, as all of the schema
-- `susy`; what moderators' tools call is in `dashboard.sql`. Migrations carry their own text; a test compares the result with this file.

-- The one definition of the review that counts: the latest of its check that was not undone.
CREATE VIEW susy.counted_reviews AS
SELECT r.id, r.check_id, r.reviewer, r.decision, r.note, r.created_at, r.content_sha256, r.batch_id
FROM susy.reviews AS r
WHERE NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = r.id)
    AND NOT EXISTS (
        SELECT FROM susy.reviews AS later
        WHERE later.check_id = r.check_id
            AND (later.created_at, later.id) > (r.created_at, r.id)
            AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = later.id)
    );

-- The checks whose right answer is known, and what it is: the latest change of each.
CREATE VIEW susy.golden_items AS
SELECT g.check_id, g.decision
FROM susy.golden_changes AS g
WHERE g.decision IS NOT NULL
    AND NOT EXISTS (SELECT FROM susy.golden_changes AS later WHERE later.check_id = g.check_id AND later.id > g.id);

-- Checks that two people answered, the second without seeing the first one's answer.
CREATE VIEW susy.double_reviews AS
SELECT
    s.check_id,
    f.reviewer AS first_reviewer,
    f.decision AS first_decision,
    r.reviewer AS second_reviewer,
    r.decision AS second_decision,
    r.created_at
FROM susy.review_claims AS s
JOIN susy.reviews AS r ON r.id = s.review_id
CROSS JOIN LATERAL (
    SELECT e.reviewer, e.decision FROM susy.reviews AS e
    WHERE e.check_id = s.check_id
        AND e.batch_id IS NULL
        AND e.reviewer <> r.reviewer
        AND e.created_at < r.created_at
        AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = e.id)
    ORDER BY e.created_at DESC, e.id DESC LIMIT 1
) AS f
WHERE s.action = 'decided'
    AND s.kind = 'second'
    AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = r.id);

-- A share of contents in 0 to 1, as text and a rate: always the same answer for the same text, and a higher rate draws
-- what a lower one draws.
CREATE FUNCTION susy.draws(word text, rate double precision)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN (('x' || substr(encode(sha256(convert_to(word, 'UTF8')), 'hex'), 1, 8))::bit(32)::bigint) < rate * 4294967296;

-- One of the rates of `susy reviews configure`: of second reviews, or of golden items.
CREATE FUNCTION susy.review_rate(name text)
RETURNS double precision LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN coalesce((
    SELECT (p.configuration -> 'reviews' ->> name)::double precision
    FROM susy.policy_revisions AS p ORDER BY p.revision DESC LIMIT 1
), 0);

-- Reach as a number, whatever was submitted: 0 unless the attribute `reach` is a positive number.
CREATE FUNCTION susy.reach_of(attributes jsonb)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN jsonb_typeof(attributes -> 'reach') = 'number'
    THEN least(greatest((attributes -> 'reach')::numeric, 0), 1000000000000)::double precision
    ELSE 0
END;

-- Make the queue say what these checks need: a first review when the verdict asks for one or was drawn for an audit; a
-- second one, by another person, when the content was drawn for it; a third one when these two disagree. A bulk review
-- settles a check, and is not followed by a second one. A check that is done and has no live verdict at this moment is
-- being decided again, and keeps its place.
CREATE FUNCTION susy.refresh_review_items(check_ids uuid[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    second_rate double precision := susy.review_rate('second_rate');
BEGIN
    UPDATE susy.verdicts AS v SET reviewed_at = r.created_at
    FROM unnest(check_ids) AS given (id) LEFT JOIN susy.counted_reviews AS r ON r.check_id = given.id
    WHERE v.check_id = given.id AND v.mode = 'live' AND (v.reviewed_at IS NULL) <> (r.created_at IS NULL);

    WITH wanted AS (
        SELECT
            c.id, k.kind, c.source, c.lane, c.content_sha256, c.attributes, c.created_at,
            v.policy_name, v.decision, v.generator, v.score, coalesce(v.needs_review, false) AS needs_review,
            v.created_at AS decided_at
        FROM susy.checks AS c
        LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
        LEFT JOIN susy.counted_reviews AS r ON r.check_id = c.id
        CROSS JOIN LATERAL (
            SELECT count(*) AS people, count(DISTINCT a.decision) AS decisions
            FROM (
                SELECT DISTINCT ON (e.reviewer) e.decision FROM susy.reviews AS e
                WHERE e.check_id = c.id
                    AND e.batch_id IS NULL
                    AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = e.id)
                ORDER BY e.reviewer, e.created_at DESC, e.id DESC
            ) AS a
        ) AS answers
        CROSS JOIN LATERAL (
            SELECT CASE
                WHEN c.state = 'done' AND v.id IS NULL THEN 'kept'
                WHEN c.state IN ('queued', 'running') THEN NULL
                WHEN EXISTS (SELECT FROM susy.golden_items AS g WHERE g.check_id = c.id) THEN NULL
                WHEN r.id IS NULL THEN CASE WHEN v.needs_review OR v.audit_rate IS NOT NULL THEN 'first' END
                WHEN r.batch_id IS NOT NULL THEN NULL
                WHEN NOT susy.draws('second:' || coalesce(c.content_sha256, c.id::text), second_rate) THEN NULL
                WHEN answers.people = 1 THEN 'second'
                WHEN answers.people = 2 AND answers.decisions = 2 THEN 'third'
            END AS kind
        ) AS k
        WHERE c.id = ANY (check_ids) AND k.kind IS NOT NULL
    ), withdrawn AS (
        DELETE FROM susy.open_claims AS o
        WHERE o.check_id = ANY (check_ids)
            AND o.kind <> 'golden'
            AND NOT EXISTS (SELECT FROM wanted AS w WHERE w.id = o.check_id AND w.kind IN (o.kind, 'kept'))
        RETURNING o.claim_id, o.check_id, o.moderator, o.kind
    ), logged AS (
        INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, created_at)
        SELECT claim_id, check_id, moderator, kind, 'withdrawn', clock_timestamp() FROM withdrawn
    ), removed AS (
        DELETE FROM susy.review_items AS i
        WHERE i.check_id = ANY (check_ids) AND NOT EXISTS (SELECT FROM wanted AS w WHERE w.id = i.check_id)
    )
    INSERT INTO susy.review_items AS i (
        check_id, kind, source, lane, policy, decision, generator, score, needs_review, content_sha256, score_band,
        reach_rank, waiting_since
    )
    SELECT
        id, kind, source, lane, policy_name, decision, generator, score, needs_review, content_sha256,
        10 - round(coalesce(score, 0) * 10), -susy.reach_of(attributes),
        CASE kind WHEN 'first' THEN decided_at ELSE clock_timestamp() END
    FROM wanted WHERE kind <> 'kept'
    ON CONFLICT (check_id) DO UPDATE SET
        kind = excluded.kind, source = excluded.source, lane = excluded.lane, policy = excluded.policy,
        decision = excluded.decision, generator = excluded.generator, score = excluded.score,
        needs_review = excluded.needs_review, content_sha256 = excluded.content_sha256,
        score_band = excluded.score_band, reach_rank = excluded.reach_rank,
        waiting_since = CASE i.kind WHEN excluded.kind THEN i.waiting_since ELSE excluded.waiting_since END;
END
$$;

-- A verdict that is superseded is followed by the one that takes its place, in the same statement.
CREATE FUNCTION susy.refresh_after_verdicts()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    check_ids uuid[];
BEGIN
    SELECT array_agg(DISTINCT v.check_id) INTO check_ids FROM changed AS v WHERE v.mode <> 'superseded';
    IF check_ids IS NOT NULL THEN
        PERFORM susy.refresh_review_items(check_ids);
    END IF;
    RETURN NULL;
END
$$;

-- What refresh_review_items would do, in a fraction of its time where nobody has looked at the check yet: nothing when
-- the new verdict asks for nothing, which costs a look for reviews and for an item, and else a first review.
CREATE FUNCTION susy.queue_new_verdicts()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    check_ids uuid[];
    queued bigint;
BEGIN
    SELECT array_agg(v.check_id) INTO check_ids FROM added AS v
    WHERE v.mode = 'live' AND (
        v.needs_review OR v.audit_rate IS NOT NULL
        OR EXISTS (SELECT FROM susy.reviews AS r WHERE r.check_id = v.check_id)
        OR EXISTS (SELECT FROM susy.review_items AS i WHERE i.check_id = v.check_id)
    );
    IF check_ids IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO susy.review_items (
        check_id, kind, source, lane, policy, decision, generator, score, needs_review, content_sha256, score_band,
        reach_rank, waiting_since
    )
    SELECT
        c.id, 'first', c.source, c.lane, v.policy_name, v.decision, v.generator, v.score, v.needs_review,
        c.content_sha256, 10 - round(coalesce(v.score, 0) * 10), -susy.reach_of(c.attributes), v.created_at
    FROM added AS v JOIN susy.checks AS c ON c.id = v.check_id
    WHERE v.mode = 'live'
        AND (v.needs_review OR v.audit_rate IS NOT NULL)
        AND c.state NOT IN ('queued', 'running')
        AND NOT EXISTS (SELECT FROM susy.reviews AS r WHERE r.check_id = v.check_id)
        AND NOT EXISTS (SELECT FROM susy.golden_changes AS g WHERE g.check_id = v.check_id)
        AND NOT EXISTS (SELECT FROM susy.open_claims AS o WHERE o.check_id = v.check_id)
    ON CONFLICT (check_id) DO NOTHING;
    GET DIAGNOSTICS queued = ROW_COUNT;
    IF queued < cardinality(check_ids) THEN
        PERFORM susy.refresh_review_items(check_ids);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER verdicts_refresh_items_inserted AFTER INSERT ON susy.verdicts
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION susy.queue_new_verdicts();
CREATE TRIGGER verdicts_refresh_items_updated AFTER UPDATE ON susy.verdicts
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION susy.refresh_after_verdicts();

CREATE FUNCTION susy.refresh_after_reviews()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    check_ids uuid[];
BEGIN
    SELECT array_agg(DISTINCT check_id) INTO check_ids FROM changed;
    IF check_ids IS NOT NULL THEN
        PERFORM susy.refresh_review_items(check_ids);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER reviews_refresh_items AFTER INSERT ON susy.reviews
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION susy.refresh_after_reviews();
CREATE TRIGGER undone_reviews_refresh_items AFTER INSERT ON susy.undone_reviews
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION susy.refresh_after_reviews();
CREATE TRIGGER golden_changes_refresh_items AFTER INSERT ON susy.golden_changes
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION susy.refresh_after_reviews();

-- Tell the platform that a review does not count any more. The event carries the review that counts now, if any does.
CREATE FUNCTION susy.add_undo_event()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.events (
        check_id, source, type, created_at, state, attempts, finished_at, error_code, error_message, review_id
    )
    SELECT
        id, source, 'image.review.undone', clock_timestamp(), state, attempts, finished_at, error_code, error_message,
        NEW.review_id
    FROM susy.checks WHERE id = NEW.check_id AND finished_at IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER undone_reviews_add_event AFTER INSERT ON susy.undone_reviews
FOR EACH ROW EXECUTE FUNCTION susy.add_undo_event();

-- A person's name without the spaces around it. Raises `missing` where there is none to read, and for one that is too
-- long or has characters that a terminal or a page obeys, so that nobody signs as nobody, or as somebody else.
CREATE FUNCTION susy.person(name text, missing text)
RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    spaces text := '[\s\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028\u2029\u202f\u205f-\u2064\u3000\ufeff]+';
    trimmed text := regexp_replace(coalesce(person.name, ''), '^' || spaces || '|' || spaces || '$', '', 'g');
BEGIN
    IF trimmed = '' THEN
        RAISE EXCEPTION '%', person.missing USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF length(trimmed) > 200 OR trimmed ~ '[\u0001-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]' THEN
        RAISE EXCEPTION 'a name has at most 200 characters and none that control a terminal'
        USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN trimmed;
END
$$;

-- Undo a review, or what is left of a bulk review, by its id; the id of the undo and how many reviews it undid.
CREATE FUNCTION susy.undo_reviews(target uuid, undone_by text, reason text, OUT undo_id uuid, OUT reviews integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_batch boolean := EXISTS (SELECT FROM susy.review_batches AS b WHERE b.id = target);
    is_known boolean := is_batch OR EXISTS (SELECT FROM susy.reviews AS r WHERE r.id = target);
    who text := susy.person(undone_by, 'an undo says by whom and why');
BEGIN
    IF coalesce(reason, '') !~ '\S' THEN
        RAISE EXCEPTION 'an undo says by whom and why' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT is_known THEN
        RAISE EXCEPTION 'no review and no bulk review has the id %', target USING ERRCODE = 'SY003';
    END IF;
    -- In one order, so that two undos, or an undo and a bulk review, never wait for each other in a circle.
    PERFORM FROM susy.checks AS c
    WHERE c.id IN (SELECT r.check_id FROM susy.reviews AS r WHERE r.batch_id = target OR r.id = target)
    ORDER BY c.id FOR NO KEY UPDATE;
    undo_id := gen_random_uuid();
    SELECT count(*) INTO reviews FROM susy.reviews AS r
    WHERE (r.batch_id = target OR r.id = target)
        AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = r.id);
    IF reviews = 0 THEN
        RAISE EXCEPTION 'review % was undone before', target USING ERRCODE = 'SY004';
    END IF;
    INSERT INTO susy.review_undos (id, target_id, undone_by, reason, reviews, created_at)
    VALUES (undo_id, target, who, btrim(undo_reviews.reason), undo_reviews.reviews, clock_timestamp());
    INSERT INTO susy.undone_reviews (review_id, check_id, undo_id)
    SELECT r.id, r.check_id, undo_reviews.undo_id FROM susy.reviews AS r
    WHERE (r.batch_id = target OR r.id = target)
        AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = r.id);
END
$$;

-- How far people agree: of each two of them Cohen's kappa, of all of them (in the row without names) Krippendorff's
-- alpha for nominal data, which allows for people who answered different checks. Both correct for agreement by chance;
-- null when that is undefined, because everybody always gave the same answer.
-- J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20 (1960).
-- K. Krippendorff, "Computing Krippendorff's alpha-reliability", University of Pennsylvania (2011).
CREATE FUNCTION susy.reviewer_agreement(since timestamp with time zone, source text)
RETURNS TABLE (
    reviewer text, other_reviewer text, reviewers bigint, checks bigint, agreement double precision,
    cohens_kappa double precision, krippendorffs_alpha double precision
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH doubles AS (
        SELECT d.* FROM susy.double_reviews AS d JOIN susy.checks AS c ON c.id = d.check_id
        WHERE (reviewer_agreement.since IS NULL OR d.created_at >= reviewer_agreement.since)
            AND (reviewer_agreement.source IS NULL OR c.source = reviewer_agreement.source)
    ), pairs AS (
        SELECT
            least(first_reviewer, second_reviewer) AS one,
            greatest(first_reviewer, second_reviewer) AS other,
            CASE WHEN first_reviewer < second_reviewer THEN first_decision ELSE second_decision END AS one_decision,
            CASE WHEN first_reviewer < second_reviewer THEN second_decision ELSE first_decision END AS other_decision
        FROM doubles
    ), observed AS (
        SELECT one, other, count(*) AS checks, avg((one_decision = other_decision)::int)::double precision AS agreed
        FROM pairs GROUP BY one, other
    ), expected AS (
        SELECT o.one, o.other, sum(a.share * b.share) AS agreed
        FROM observed AS o
        CROSS JOIN unnest(ARRAY['authentic', 'synthetic', 'inconclusive']) AS word
        CROSS JOIN LATERAL (
            SELECT avg((p.one_decision = word)::int)::double precision AS share
            FROM pairs AS p WHERE (p.one, p.other) = (o.one, o.other)
        ) AS a
        CROSS JOIN LATERAL (
            SELECT avg((p.other_decision = word)::int)::double precision AS share
            FROM pairs AS p WHERE (p.one, p.other) = (o.one, o.other)
        ) AS b
        GROUP BY o.one, o.other
    ), answers AS (
        SELECT check_id, first_reviewer AS reviewer, first_decision AS decision FROM doubles
        UNION
        SELECT check_id, second_reviewer, second_decision FROM doubles
    ), answered AS (
        SELECT a.check_id, a.decision, count(*)::double precision AS times FROM answers AS a GROUP BY 1, 2
    ), units AS (
        SELECT check_id, sum(times) AS size, sum(times * times) AS squares FROM answered GROUP BY check_id
    ), totals AS (
        SELECT
            count(*) AS checks, sum(size) AS size,
            sum((size * size - squares) / (size - 1)) / sum(size) AS disagreement,
            avg((size = sqrt(squares))::int)::double precision AS agreed
        FROM units WHERE size > 1
    ), chance AS (
        SELECT (t.size * t.size - sum(w.times * w.times)) / nullif(t.size * (t.size - 1), 0) AS disagreement
        FROM totals AS t CROSS JOIN (SELECT sum(a.times) AS times FROM answered AS a GROUP BY a.decision) AS w
        GROUP BY t.size
    )
    SELECT
        o.one, o.other, 2, o.checks, o.agreed,
        (o.agreed - e.agreed) / nullif(1 - e.agreed, 0), NULL::double precision
    FROM observed AS o JOIN expected AS e USING (one, other)
    UNION ALL
    SELECT
        NULL, NULL, (SELECT count(DISTINCT a.reviewer) FROM answers AS a), t.checks, t.agreed, NULL,
        1 - t.disagreement / nullif(c.disagreement, 0)
    FROM totals AS t CROSS JOIN chance AS c;
$$;

REVOKE ALL ON FUNCTION susy.undo_reviews, susy.reviewer_agreement FROM PUBLIC;
