-- The HTTP service does all that moderators do, by the functions that tools in SQL use; bulk reviews become functions, too.
-- Claims, reviews and bulk reviews can be repeated with an id of the request.
DROP FUNCTION susy.record_decision(uuid, text, text, text, uuid);

CREATE OR REPLACE FUNCTION susy.person(name text, missing text)
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

CREATE OR REPLACE FUNCTION susy.undo_reviews(target uuid, undone_by text, reason text, OUT undo_id uuid, OUT reviews integer)
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

CREATE OR REPLACE FUNCTION susy.held_claim(claim uuid, holder text)
RETURNS susy.open_claims LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims;
    ended susy.review_claims;
    who text := susy.person(holder, 'a claim names its moderator');
BEGIN
    SELECT o.* INTO held FROM susy.open_claims AS o WHERE o.claim_id = claim AND o.moderator = who FOR UPDATE;
    IF held.claim_id IS NOT NULL THEN
        RETURN held;
    END IF;
    SELECT c.* INTO ended FROM susy.review_claims AS c
    WHERE c.claim_id = claim AND c.moderator = who ORDER BY c.id DESC LIMIT 1;
    IF ended.id IS NULL THEN
        RAISE EXCEPTION '% holds no claim %', who, claim USING ERRCODE = 'SY005';
    END IF;
    RAISE EXCEPTION 'claim % on check % has ended (%); claim the next one', claim, ended.check_id, ended.action
    USING ERRCODE = 'SY005';
END
$$;

CREATE OR REPLACE FUNCTION susy.claim_ended_by(claim uuid, holder text, action text)
RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM susy.review_claims AS c
        WHERE c.claim_id = $1 AND c.moderator = susy.person($2, 'a claim names its moderator') AND c.action = $3
    );
$$;

CREATE OR REPLACE FUNCTION susy.shown_claims(claim_ids uuid[])
RETURNS TABLE (
    claim_id uuid, claimed_until timestamp with time zone, check_id uuid, source text, external_id text, uri text,
    lane text, attributes jsonb, why text, decision text, score double precision, generator text,
    generator_confidence double precision, reasons text[], regions jsonb, width integer, height integer,
    reviewed_before text
) LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT
        o.claim_id, o.claimed_until, c.id, c.source, c.external_id, c.uri, c.lane, c.attributes,
        CASE WHEN v.needs_review THEN 'policy' ELSE 'audit' END,
        v.decision, v.score, v.generator, v.generator_confidence, v.reasons, v.regions, s.width, s.height,
        -- Not where a second person may be asked about this content, and must not know what was said before.
        CASE WHEN o.kind = 'first'
            AND NOT susy.draws('second:' || coalesce(c.content_sha256, c.id::text), susy.review_rate('second_rate'))
        THEN (
            SELECT r.decision FROM susy.counted_reviews AS r
            WHERE r.content_sha256 = c.content_sha256 AND r.check_id <> c.id
            ORDER BY r.created_at DESC, r.id DESC LIMIT 1
        ) END
    FROM susy.open_claims AS o
    JOIN susy.checks AS c ON c.id = o.check_id
    LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
    LEFT JOIN susy.scans AS s ON s.id = v.scan_id
    WHERE o.claim_id = ANY (claim_ids)
    ORDER BY o.claimed_until, o.claim_id;
$$;

CREATE OR REPLACE FUNCTION susy.record_decision(
    check_id uuid, decision text, reviewer text, note text, claim_id uuid, request_id uuid
)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found susy.checks;
    held susy.open_claims;
    who text := susy.person(reviewer, 'a review names its reviewer');
    review_id uuid := coalesce(record_decision.request_id, gen_random_uuid());
    earlier record;
BEGIN
    IF decision IS NULL OR decision NOT IN ('authentic', 'synthetic', 'inconclusive') THEN
        RAISE EXCEPTION 'a decision is authentic, synthetic or inconclusive' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF record_decision.claim_id IS NOT NULL AND record_decision.check_id IS NULL THEN
        PERFORM susy.held_claim(record_decision.claim_id, who);  -- raises: there is no such claim
    END IF;
    -- The lock keeps the check from being queued again between this look and the review, and puts reviews in order.
    SELECT c.* INTO found FROM susy.checks AS c WHERE c.id = record_decision.check_id FOR NO KEY UPDATE;
    IF found.id IS NULL THEN
        RAISE EXCEPTION 'no check has the id %', record_decision.check_id USING ERRCODE = 'SY001';
    END IF;
    -- What this request, or this claim, has decided before.
    SELECT e.id, e.check_id, e.reviewer, e.decision INTO earlier FROM (
        SELECT r.id, r.check_id, r.reviewer, r.decision FROM susy.reviews AS r
        UNION ALL
        SELECT a.id, a.check_id, a.moderator, a.decision FROM susy.golden_answers AS a
    ) AS e
    WHERE e.id = coalesce(record_decision.request_id, (
        SELECT c.review_id FROM susy.review_claims AS c
        WHERE c.claim_id = record_decision.claim_id AND c.moderator = who AND c.action = 'decided'
    ));
    IF earlier.id IS NOT NULL THEN
        IF (earlier.check_id, earlier.reviewer, earlier.decision) = (found.id, who, record_decision.decision) THEN
            RETURN earlier.id;
        ELSIF record_decision.request_id IS NOT NULL THEN
            RAISE EXCEPTION 'this request was sent before with another review' USING ERRCODE = 'SY007';
        END IF;
    END IF;
    IF found.state IN ('queued', 'running') THEN
        RAISE EXCEPTION 'check % is %; review it when it has ended', found.id, found.state USING ERRCODE = 'SY002';
    END IF;
    IF record_decision.claim_id IS NOT NULL THEN
        held := susy.held_claim(record_decision.claim_id, who);
        IF held.check_id <> found.id THEN
            RAISE EXCEPTION 'claim % is not on check %', held.claim_id, found.id USING ERRCODE = 'SY005';
        END IF;
    ELSE
        SELECT o.* INTO held FROM susy.open_claims AS o
        WHERE o.check_id = found.id AND o.moderator = who FOR UPDATE;
    END IF;
    IF held.claim_id IS NOT NULL THEN
        DELETE FROM susy.open_claims AS o WHERE o.claim_id = held.claim_id;
        INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, review_id, created_at)
        VALUES (held.claim_id, found.id, who, held.kind, 'decided', review_id, clock_timestamp());
    END IF;
    IF held.kind = 'golden' THEN
        INSERT INTO susy.golden_answers (id, check_id, moderator, decision, expected, note)
        VALUES (
            review_id, found.id, who, record_decision.decision,
            (SELECT g.decision FROM susy.golden_items AS g WHERE g.check_id = found.id), record_decision.note
        );
    ELSE
        INSERT INTO susy.reviews (id, check_id, reviewer, decision, note, content_sha256, created_at)
        VALUES (
            review_id, found.id, who, record_decision.decision, record_decision.note, found.content_sha256,
            clock_timestamp()
        );
    END IF;
    RETURN review_id;
END
$$;

CREATE OR REPLACE FUNCTION susy.claim_conditions(filters jsonb)
RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key text;
    kind text;
    conditions text := '';
BEGIN
    IF jsonb_typeof(filters) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'filters are an object' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR key, kind IN SELECT f.key, jsonb_typeof(f.value) FROM jsonb_each(filters) AS f LOOP
        conditions := conditions || CASE key
            WHEN 'source' THEN $q$ AND i.source = $2 ->> 'source'$q$
            WHEN 'sources' THEN $q$ AND i.source = ANY (ARRAY(SELECT jsonb_array_elements_text($2 -> 'sources')))$q$
            WHEN 'lane' THEN $q$ AND i.lane = $2 ->> 'lane'$q$
            WHEN 'policy' THEN $q$ AND i.policy = $2 ->> 'policy'$q$
            WHEN 'decision' THEN $q$ AND i.decision = $2 ->> 'decision'$q$
            WHEN 'generator' THEN $q$ AND i.generator = $2 ->> 'generator'$q$
            WHEN 'why' THEN $q$ AND i.needs_review = ($2 ->> 'why' = 'policy')$q$
            WHEN 'min_score' THEN
                $q$ AND i.score >= ($2 ->> 'min_score')::double precision AND i.score_band <=
                    (10 - round(least(greatest(($2 ->> 'min_score')::double precision, 0), 1) * 10))::smallint$q$
            WHEN 'max_score' THEN
                $q$ AND i.score <= ($2 ->> 'max_score')::double precision AND i.score_band >=
                    (10 - round(least(greatest(($2 ->> 'max_score')::double precision, 0), 1) * 10))::smallint$q$
            WHEN 'since' THEN $q$ AND i.waiting_since >= ($2 ->> 'since')::timestamptz$q$
            WHEN 'attributes' THEN
                $q$ AND (SELECT c.attributes FROM susy.checks AS c WHERE c.id = i.check_id) @> ($2 -> 'attributes')$q$
        END;
        IF conditions IS NULL THEN
            RAISE EXCEPTION 'there is no filter %; filters are source, sources, lane, policy, decision, generator, why, min_score, max_score, since and attributes', quote_ident(key)
            USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF kind <> (CASE key
            WHEN 'min_score' THEN 'number' WHEN 'max_score' THEN 'number' WHEN 'attributes' THEN 'object'
            WHEN 'sources' THEN 'array' ELSE 'string'
        END) THEN
            RAISE EXCEPTION 'the filter % does not take %', key, kind USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    IF filters ? 'why' AND filters ->> 'why' NOT IN ('policy', 'audit') THEN
        RAISE EXCEPTION 'the filter why is policy or audit' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN conditions;
END
$$;

CREATE OR REPLACE FUNCTION susy.claim_review(moderator text, filters jsonb, seconds integer, request_id uuid)
RETURNS TABLE (
    claim_id uuid, claimed_until timestamp with time zone, check_id uuid, source text, external_id text, uri text,
    lane text, attributes jsonb, why text, decision text, score double precision, generator text,
    generator_confidence double precision, reasons text[], regions jsonb, width integer, height integer,
    reviewed_before text
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    who text := susy.person(claim_review.moderator, 'a claim names its moderator');
    conditions text := susy.claim_conditions(claim_review.filters);
    try_golden boolean := random() < susy.review_rate('golden_rate');
    tried uuid[] := '{}';
    item record;
    golden record;
    token uuid;
    ends timestamp with time zone;
BEGIN
    IF claim_review.seconds IS NULL OR claim_review.seconds NOT BETWEEN 1 AND 86400 THEN
        RAISE EXCEPTION 'a claim is for 1 to 86400 seconds' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM susy.expire_claims();
    IF claim_review.request_id IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(claim_review.request_id::text, 0));
        IF EXISTS (SELECT FROM susy.review_claims AS c WHERE c.claim_id = claim_review.request_id) THEN
            PERFORM susy.held_claim(claim_review.request_id, who);  -- raises when it has ended
            RETURN QUERY SELECT * FROM susy.shown_claims(ARRAY[claim_review.request_id]);
            RETURN;
        END IF;
    END IF;
    IF (SELECT count(*) FROM susy.open_claims AS o WHERE o.moderator = who) >= 50 THEN
        RAISE EXCEPTION '% holds 50 claims; decide, skip or release some', who USING ERRCODE = 'SY006';
    END IF;
    LOOP
        EXECUTE $query$
            SELECT i.check_id, i.kind, i.content_sha256 FROM susy.review_items AS i
            WHERE i.check_id <> ALL ($3)
                AND NOT EXISTS (
                    SELECT FROM susy.open_claims AS o WHERE o.check_id = i.check_id AND o.kind <> 'golden'
                )
                AND NOT EXISTS (
                    SELECT FROM susy.open_claims AS o WHERE o.content_sha256 = i.content_sha256 AND o.kind <> 'golden'
                )
                AND NOT EXISTS (
                    SELECT FROM susy.review_claims AS s
                    WHERE s.check_id = i.check_id AND s.moderator = $1 AND s.action = 'skipped'
                )
                AND (i.kind = 'first' OR NOT EXISTS (
                    SELECT FROM susy.reviews AS r WHERE r.check_id = i.check_id AND r.reviewer = $1
                ))
                AND (i.kind = 'first' OR NOT EXISTS (
                    SELECT FROM susy.reviews AS r WHERE r.content_sha256 = i.content_sha256 AND r.reviewer = $1
                ))
        $query$ || conditions || $query$
            ORDER BY i.score_band, i.reach_rank, i.waiting_since, i.check_id LIMIT 1 FOR UPDATE OF i SKIP LOCKED
        $query$ INTO item USING who, claim_review.filters, tried;
        IF item.check_id IS NULL THEN
            RETURN;
        END IF;
        IF try_golden THEN
            try_golden := false;
            EXECUTE $query$
                SELECT i.check_id, 'golden' AS kind, i.content_sha256
                FROM (
                    SELECT
                        c.id AS check_id, c.source, c.lane, c.content_sha256, c.created_at AS waiting_since, v.decision,
                        v.policy_name AS policy, v.generator, v.score, coalesce(v.needs_review, false) AS needs_review,
                        (10 - round(coalesce(v.score, 0) * 10))::smallint AS score_band
                    FROM susy.golden_items AS g
                    JOIN susy.checks AS c ON c.id = g.check_id
                    LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
                ) AS i
                WHERE NOT EXISTS (
                        SELECT FROM susy.golden_answers AS a
                        WHERE a.check_id = i.check_id AND a.moderator = $1 AND a.decision IS NOT NULL
                            AND NOT EXISTS (SELECT FROM susy.golden_answers AS u WHERE u.undoes = a.id)
                    )
                    AND NOT EXISTS (SELECT FROM susy.reviews AS r WHERE r.check_id = i.check_id AND r.reviewer = $1)
                    AND NOT EXISTS (
                        SELECT FROM susy.open_claims AS o WHERE o.check_id = i.check_id AND o.moderator = $1
                    )
                    AND NOT EXISTS (
                        SELECT FROM susy.review_claims AS s
                        WHERE s.check_id = i.check_id AND s.moderator = $1 AND s.action = 'skipped'
                    )
            $query$ || conditions || ' ORDER BY random() LIMIT 1' INTO golden USING who, claim_review.filters;
            IF golden.check_id IS NOT NULL THEN
                item := golden;
            END IF;
        END IF;
        -- Another session may have taken the check, or the same content, since this statement's snapshot.
        INSERT INTO susy.open_claims AS o (claim_id, check_id, moderator, kind, content_sha256, claimed_until)
        SELECT
            coalesce(claim_review.request_id, gen_random_uuid()), c.id, who, item.kind, item.content_sha256,
            clock_timestamp() + make_interval(secs => claim_review.seconds)
        FROM susy.checks AS c
        WHERE c.id = item.check_id AND c.state NOT IN ('queued', 'running')
            AND (item.kind = 'golden' OR EXISTS (
                SELECT FROM susy.review_items AS i WHERE i.check_id = c.id AND i.kind = item.kind
            ))
        ON CONFLICT DO NOTHING
        RETURNING o.claim_id, o.claimed_until INTO token, ends;
        EXIT WHEN token IS NOT NULL;
        tried := tried || item.check_id;
    END LOOP;
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, claimed_until, created_at)
    VALUES (token, item.check_id, who, item.kind, 'claimed', ends, clock_timestamp());
    RETURN QUERY SELECT * FROM susy.shown_claims(ARRAY[token]);
END
$$;

CREATE OR REPLACE FUNCTION susy.reviewed_sources(target uuid)
RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT c.source FROM susy.checks AS c
    WHERE c.id IN (
        SELECT r.check_id FROM susy.reviews AS r WHERE r.id = target OR r.batch_id = target
        UNION ALL
        SELECT a.check_id FROM susy.golden_answers AS a WHERE a.id = target
        UNION ALL
        SELECT k.check_id FROM susy.review_claims AS k WHERE k.claim_id = target AND k.action = 'claimed'
    );
$$;

CREATE OR REPLACE FUNCTION susy.bulk_conditions(filters jsonb)
RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key text;
    kind text;
    conditions text := $q$c.state NOT IN ('queued', 'running')$q$;
BEGIN
    IF jsonb_typeof(filters) IS DISTINCT FROM 'object' OR filters - 'sources' - 'reviewed_too' = '{}' THEN
        RAISE EXCEPTION 'a bulk review needs a filter, such as source' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR key, kind IN SELECT f.key, jsonb_typeof(f.value) FROM jsonb_each(filters) AS f LOOP
        conditions := conditions || CASE key
            WHEN 'source' THEN $q$ AND c.source = $1 ->> 'source'$q$
            WHEN 'sources' THEN $q$ AND c.source = ANY (ARRAY(SELECT jsonb_array_elements_text($1 -> 'sources')))$q$
            WHEN 'state' THEN $q$ AND c.state = $1 ->> 'state'$q$
            WHEN 'since' THEN $q$ AND c.created_at >= ($1 ->> 'since')::timestamptz$q$
            WHEN 'until' THEN $q$ AND c.created_at <= ($1 ->> 'until')::timestamptz$q$
            WHEN 'decision' THEN $q$ AND v.decision = $1 ->> 'decision'$q$
            WHEN 'policy' THEN $q$ AND v.policy_name = $1 ->> 'policy'$q$
            WHEN 'generator' THEN $q$ AND v.generator = $1 ->> 'generator'$q$
            WHEN 'min_score' THEN $q$ AND v.score >= ($1 ->> 'min_score')::double precision$q$
            WHEN 'max_score' THEN $q$ AND v.score <= ($1 ->> 'max_score')::double precision$q$
            WHEN 'reviewed_too' THEN ''
        END;
        IF conditions IS NULL THEN
            RAISE EXCEPTION 'there is no filter %; filters are source, sources, state, since, until, decision, policy, generator, min_score, max_score and reviewed_too', quote_ident(key)
            USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF kind <> (CASE key
            WHEN 'min_score' THEN 'number' WHEN 'max_score' THEN 'number' WHEN 'sources' THEN 'array'
            WHEN 'reviewed_too' THEN 'boolean' ELSE 'string'
        END) THEN
            RAISE EXCEPTION 'the filter % does not take %', key, kind USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    IF NOT coalesce((filters ->> 'reviewed_too')::boolean, false) THEN
        conditions := conditions
            || ' AND NOT EXISTS (SELECT FROM susy.counted_reviews AS r WHERE r.check_id = c.id)';
    END IF;
    RETURN conditions;
END
$$;

CREATE OR REPLACE FUNCTION susy.count_for_review(filters jsonb)
RETURNS TABLE (source text, decision text, checks bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE $query$
        SELECT c.source, v.decision, count(*)
        FROM susy.checks AS c LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live' WHERE
    $query$ || susy.bulk_conditions(filters) || $query$
        GROUP BY c.source, v.decision ORDER BY count(*) DESC, c.source, v.decision
    $query$ USING filters;
END
$$;

CREATE OR REPLACE FUNCTION susy.review_in_bulk(
    batch_id uuid, filters jsonb, decision text, reviewer text, note text, part integer, most integer
)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who text := susy.person(reviewer, 'a review names its reviewer');
    conditions text := susy.bulk_conditions(filters);
    earlier susy.review_batches;
    check_ids uuid[];
BEGIN
    IF review_in_bulk.decision IS NULL OR review_in_bulk.decision NOT IN ('authentic', 'synthetic', 'inconclusive') THEN
        RAISE EXCEPTION 'a decision is authentic, synthetic or inconclusive' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(review_in_bulk.batch_id::text, 0));
    SELECT b.* INTO earlier FROM susy.review_batches AS b WHERE b.id = review_in_bulk.batch_id;
    IF earlier.id IS NOT NULL THEN
        IF (earlier.reviewer, earlier.decision, earlier.filters) = (who, review_in_bulk.decision, review_in_bulk.filters)
        THEN
            RETURN earlier.reviews;
        END IF;
        RAISE EXCEPTION 'this request was sent before with another bulk review' USING ERRCODE = 'SY007';
    END IF;
    -- Locked in the order of their ids, so that no two sessions wait for each other in a circle.
    EXECUTE $query$
        SELECT array_agg(l.id) FROM (
            SELECT c.id
            FROM susy.checks AS c LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live' WHERE
    $query$ || conditions || $query$
            ORDER BY c.id LIMIT $2 FOR NO KEY UPDATE OF c
        ) AS l
    $query$ INTO check_ids USING filters, CASE WHEN part IS NULL THEN most + 1 ELSE least(part, most) END;
    IF cardinality(check_ids) > most THEN
        RAISE EXCEPTION 'more than % checks match, the most of one bulk review; narrow the filter, or take a part of them with a limit of up to %, and repeat', most, most
        USING ERRCODE = 'SY008';
    END IF;
    -- A statement of its own, whose snapshot shows the reviews and the new attempts that the locks were waited for.
    SELECT array_agg(c.id) INTO check_ids FROM susy.checks AS c
    WHERE c.id = ANY (check_ids) AND c.state NOT IN ('queued', 'running')
        AND (coalesce((filters ->> 'reviewed_too')::boolean, false)
            OR NOT EXISTS (SELECT FROM susy.counted_reviews AS r WHERE r.check_id = c.id));
    IF check_ids IS NULL THEN
        RAISE EXCEPTION 'no check that has ended matches the filter' USING ERRCODE = 'SY001';
    END IF;
    INSERT INTO susy.review_batches (id, reviewer, decision, note, filters, reviews, created_at)
    VALUES (
        review_in_bulk.batch_id, who, review_in_bulk.decision, review_in_bulk.note, review_in_bulk.filters,
        cardinality(check_ids), clock_timestamp()
    );
    INSERT INTO susy.reviews (id, check_id, reviewer, decision, note, content_sha256, batch_id, created_at)
    SELECT
        gen_random_uuid(), c.id, who, review_in_bulk.decision, review_in_bulk.note, c.content_sha256,
        review_in_bulk.batch_id, clock_timestamp()
    FROM susy.checks AS c WHERE c.id = ANY (check_ids);
    RETURN cardinality(check_ids);
END
$$;

CREATE OR REPLACE FUNCTION dashboard.record_review(check_id uuid, decision text, reviewer text, note text DEFAULT NULL)
RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT susy.record_decision($1, $2, $3, $4, NULL, NULL);
$$;

CREATE OR REPLACE FUNCTION dashboard.decide_claim(claim_id uuid, moderator text, decision text, note text DEFAULT NULL)
RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT susy.record_decision(
        (SELECT c.check_id FROM susy.review_claims AS c WHERE c.claim_id = $1 AND c.action = 'claimed'),
        $3, $2, $4, $1, NULL
    );
$$;

CREATE OR REPLACE FUNCTION dashboard.undo_review(review_id uuid, reviewer text, reason text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who text := susy.person(reviewer, 'an undo says by whom and why');
    answer susy.golden_answers;
BEGIN
    IF coalesce(reason, '') !~ '\S' THEN
        RAISE EXCEPTION 'an undo says by whom and why' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT g.* INTO answer FROM susy.golden_answers AS g
    WHERE g.id = undo_review.review_id AND g.moderator = who AND g.decision IS NOT NULL;
    IF answer.id IS NOT NULL THEN
        INSERT INTO susy.golden_answers (id, check_id, moderator, note, undoes)
        VALUES (gen_random_uuid(), answer.check_id, who, undo_review.reason, answer.id)
        ON CONFLICT (undoes) DO NOTHING;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'review % was undone before', undo_review.review_id USING ERRCODE = 'SY004';
        END IF;
    ELSIF EXISTS (
        SELECT FROM susy.reviews AS r WHERE r.id = undo_review.review_id AND r.reviewer = who AND r.batch_id IS NULL
    ) THEN
        PERFORM susy.undo_reviews(undo_review.review_id, who, undo_review.reason);
    ELSE
        RAISE EXCEPTION '% gave no review with the id %', who, undo_review.review_id USING ERRCODE = 'SY003';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION dashboard.claim_next_review(
    moderator text, filters jsonb DEFAULT '{}', seconds integer DEFAULT 600
)
RETURNS TABLE (
    claim_id uuid, claimed_until timestamp with time zone, check_id uuid, source text, external_id text, uri text,
    lane text, attributes jsonb, why text, decision text, score double precision, generator text,
    generator_confidence double precision, reasons text[], regions jsonb, width integer, height integer,
    reviewed_before text
) LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM susy.claim_review($1, $2, $3, NULL);
$$;

CREATE OR REPLACE FUNCTION dashboard.held_claims(moderator text)
RETURNS TABLE (
    claim_id uuid, claimed_until timestamp with time zone, check_id uuid, source text, external_id text, uri text,
    lane text, attributes jsonb, why text, decision text, score double precision, generator text,
    generator_confidence double precision, reasons text[], regions jsonb, width integer, height integer,
    reviewed_before text
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM susy.shown_claims(ARRAY(
        SELECT o.claim_id FROM susy.open_claims AS o
        WHERE o.moderator = susy.person($1, 'a claim names its moderator')
    ));
$$;

CREATE OR REPLACE FUNCTION dashboard.skip_claim(claim_id uuid, moderator text, reason text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims;
BEGIN
    IF coalesce(reason, '') !~ '\S' THEN
        RAISE EXCEPTION 'skipping a check says why' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF susy.claim_ended_by(skip_claim.claim_id, skip_claim.moderator, 'skipped') THEN
        RETURN;
    END IF;
    held := susy.held_claim(skip_claim.claim_id, skip_claim.moderator);
    DELETE FROM susy.open_claims AS o WHERE o.claim_id = held.claim_id;
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, reason, created_at)
    VALUES (held.claim_id, held.check_id, held.moderator, held.kind, 'skipped', btrim(skip_claim.reason), clock_timestamp());
END
$$;

CREATE OR REPLACE FUNCTION dashboard.release_claim(claim_id uuid, moderator text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims;
BEGIN
    IF susy.claim_ended_by(release_claim.claim_id, release_claim.moderator, 'released') THEN
        RETURN;
    END IF;
    held := susy.held_claim(release_claim.claim_id, release_claim.moderator);
    DELETE FROM susy.open_claims AS o WHERE o.claim_id = held.claim_id;
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, created_at)
    VALUES (held.claim_id, held.check_id, held.moderator, held.kind, 'released', clock_timestamp());
END
$$;

REVOKE ALL ON FUNCTION
    susy.undo_reviews, susy.reviewer_agreement, susy.held_claim, susy.record_decision, susy.claim_review,
    susy.reviewed_sources,
    susy.count_for_review, susy.review_in_bulk, dashboard.held_claims
FROM PUBLIC;

COMMENT ON FUNCTION dashboard.decide_claim IS 'Decide about a check that one has claimed; the id of the review. Refused when the claim has ended and the check was given to others. Repeating the same decision answers with the same review.';
COMMENT ON FUNCTION dashboard.held_claims IS 'The claims that a moderator has now, as they were given; the one that ends first comes first. One whose time is over is among them while nobody else was given its check.';
COMMENT ON FUNCTION susy.person(text, text) IS 'A person''s name without the spaces around it; raises where there is none.';
COMMENT ON FUNCTION susy.claim_ended_by(uuid, text, text) IS 'Whether a claim of this moderator has ended by this action.';
COMMENT ON FUNCTION susy.shown_claims(uuid[]) IS 'What moderators are shown of open claims.';
COMMENT ON FUNCTION susy.record_decision(uuid, text, text, text, uuid, uuid) IS 'Stores what a person decided, and ends that person''s claim; repeated, it answers with the same review.';
COMMENT ON FUNCTION susy.claim_review(text, jsonb, integer, uuid) IS 'Gives a moderator the next check; repeated with the same id, the same one.';
COMMENT ON FUNCTION susy.reviewed_sources(uuid) IS 'The sources of the checks of a claim, a review or a bulk review.';
COMMENT ON FUNCTION susy.bulk_conditions(jsonb) IS 'The filter of a bulk review as SQL conditions of fixed words; raises for one that does not exist.';
COMMENT ON FUNCTION susy.count_for_review(jsonb) IS 'How many checks a bulk review would decide, by source and decision.';
COMMENT ON FUNCTION susy.review_in_bulk(uuid, jsonb, text, text, text, integer, integer) IS 'Reviews all checks that match a filter, as one; how many.';

COMMENT ON COLUMN susy.api_keys.scopes IS 'What it may do: submit, read, review, supervise, admin.';
ALTER TABLE susy.api_keys DROP CONSTRAINT ck_api_keys_scopes;
ALTER TABLE susy.api_keys ADD CONSTRAINT ck_api_keys_scopes CHECK (
    cardinality(scopes) > 0
    AND scopes <@ ARRAY['submit'::text, 'read'::text, 'review'::text, 'supervise'::text, 'admin'::text]
);
