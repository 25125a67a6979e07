-- Claims: who looks at which check, and what becomes of it. Private; what moderators' tools call is in `dashboard.sql`.
-- Migrations carry their own text; a test compares the result with this file.

-- End claims whose time is over, so that what they held is given to others.
CREATE FUNCTION susy.expire_claims() RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT o.claim_id FROM susy.open_claims AS o
        WHERE o.claimed_until <= clock_timestamp() ORDER BY o.claimed_until LIMIT 1000 FOR UPDATE SKIP LOCKED
    ), ended AS (
        DELETE FROM susy.open_claims AS o USING due WHERE o.claim_id = due.claim_id
        RETURNING o.claim_id, o.check_id, o.moderator, o.kind
    )
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, created_at)
    SELECT claim_id, check_id, moderator, kind, 'expired', clock_timestamp() FROM ended;
$$;

-- A claim that its holder still has, locked; an error names who ended it and what to do.
CREATE FUNCTION susy.held_claim(claim uuid, holder text)
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

-- Whether a claim of this moderator has ended by this action, so that a repeated request is told the same.
CREATE FUNCTION susy.claim_ended_by(claim uuid, holder text, action text)
RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who text := susy.person(holder, 'a claim names its moderator');
BEGIN
    RETURN EXISTS (
        SELECT FROM susy.review_claims AS c
        WHERE c.claim_id = claim AND c.moderator = who AND c.action = claim_ended_by.action
    );
END
$$;

-- What a moderator is shown of claims that are open. PL/pgSQL with a generic plan, because planning this statement takes
-- four times as long as running it. The same columns and values for a first, a second and a third review and for a golden
-- item.
CREATE FUNCTION susy.shown_claims(claim_ids uuid[])
RETURNS TABLE (
    claim_id uuid, claimed_until timestamp with time zone, check_id uuid, source text, external_id text, uri text,
    lane text, attributes jsonb, why text, decision text, score double precision, generator text,
    generator_confidence double precision, reasons text[], regions jsonb, width integer, height integer,
    reviewed_before text
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
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
    WHERE o.claim_id = ANY (shown_claims.claim_ids)
    ORDER BY o.claimed_until, o.claim_id;
END
$$;

-- Store what a person decided, for the functions of `dashboard` that do. With a claim, it must still be held; without
-- one, the person's own claim on the check ends. An answer to a golden item decides nothing, and looks like a review.
-- Deciding a claim again in the same way, and repeating a request with its id, answers with the review that there is.
CREATE FUNCTION susy.record_decision(
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

-- Filters of a claim as conditions on the queue `i`; the text refers to the filters themselves as $2. Those of scores
-- also name the bands, by which the index begins where they do. Raises for a key or a kind of value that no filter has.
CREATE FUNCTION susy.claim_conditions(filters jsonb)
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

-- Give a moderator the next check, for `dashboard.claim_next_review`. With `request_id`, which becomes the claim's id,
-- repeating the request answers with the same claim.
CREATE FUNCTION susy.claim_review(moderator text, filters jsonb, seconds integer, request_id uuid)
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
                    -- Only those that could wait in the queue: one that could not would be known by its verdict.
                    JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
                        AND (v.needs_review OR v.audit_rate IS NOT NULL)
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
        -- One that `susy prune` is about to delete is none to look at.
        FOR KEY SHARE OF c SKIP LOCKED
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

-- The sources of what a claim, a review, an answer to a golden item or a bulk review is about; none when there is no such
-- thing. For the HTTP service, whose keys may be restricted to sources.
CREATE FUNCTION susy.reviewed_sources(target uuid)
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

REVOKE ALL ON FUNCTION susy.held_claim, susy.record_decision, susy.claim_review, susy.reviewed_sources FROM PUBLIC;
