COMMENT ON COLUMN susy.api_keys.scopes IS 'What it may do: submit, read, review, admin.';
ALTER TABLE susy.api_keys DROP CONSTRAINT ck_api_keys_scopes;
DELETE FROM susy.api_keys WHERE scopes <@ ARRAY['supervise'];
UPDATE susy.api_keys SET scopes = array_remove(scopes, 'supervise') WHERE 'supervise' = ANY (scopes);
ALTER TABLE susy.api_keys ADD CONSTRAINT ck_api_keys_scopes CHECK (
    cardinality(scopes) > 0 AND scopes <@ ARRAY['submit'::text, 'read'::text, 'review'::text, 'admin'::text]
);
DROP FUNCTION dashboard.held_claims, susy.record_decision, susy.claim_review, susy.reviewed_sources, susy.shown_claims,
    susy.claim_ended_by, susy.count_for_review, susy.review_in_bulk, susy.bulk_conditions;

CREATE OR REPLACE FUNCTION susy.undo_reviews(target uuid, undone_by text, reason text, OUT undo_id uuid, OUT reviews integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_batch boolean := EXISTS (SELECT FROM susy.review_batches AS b WHERE b.id = target);
    is_known boolean := is_batch OR EXISTS (SELECT FROM susy.reviews AS r WHERE r.id = target);
BEGIN
    IF btrim(coalesce(undone_by, '')) = '' OR btrim(coalesce(reason, '')) = '' THEN
        RAISE EXCEPTION 'an undo says by whom and why' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT is_known THEN
        RAISE EXCEPTION 'no review and no bulk review has the id %', target USING ERRCODE = 'SY003';
    END IF;
    -- In one order, so that two undos, or an undo and a bulk review, never wait for each other in a circle.
    PERFORM FROM susy.checks AS c
    WHERE c.id IN (SELECT r.check_id FROM susy.reviews AS r WHERE CASE WHEN is_batch THEN r.batch_id ELSE r.id END = target)
    ORDER BY c.id FOR NO KEY UPDATE;
    undo_id := gen_random_uuid();
    SELECT count(*) INTO reviews FROM susy.reviews AS r
    WHERE (r.batch_id = target OR r.id = target)
        AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = r.id);
    IF reviews = 0 THEN
        RAISE EXCEPTION 'review % was undone before', target USING ERRCODE = 'SY004';
    END IF;
    INSERT INTO susy.review_undos (id, target_id, undone_by, reason, reviews, created_at)
    VALUES (undo_id, target, btrim(undo_reviews.undone_by), btrim(undo_reviews.reason), undo_reviews.reviews, clock_timestamp());
    INSERT INTO susy.undone_reviews (review_id, check_id, undo_id)
    SELECT r.id, r.check_id, undo_reviews.undo_id FROM susy.reviews AS r
    WHERE (r.batch_id = target OR r.id = target)
        AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = r.id);
END
$$;

CREATE OR REPLACE FUNCTION susy.held_claim(claim uuid, holder text)
RETURNS susy.open_claims LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims;
    ended susy.review_claims;
BEGIN
    SELECT o.* INTO held FROM susy.open_claims AS o WHERE o.claim_id = claim AND o.moderator = btrim(holder) FOR UPDATE;
    IF held.claim_id IS NOT NULL THEN
        RETURN held;
    END IF;
    SELECT c.* INTO ended FROM susy.review_claims AS c
    WHERE c.claim_id = claim AND c.moderator = btrim(holder) ORDER BY c.id DESC LIMIT 1;
    IF ended.id IS NULL THEN
        RAISE EXCEPTION '% holds no claim %', btrim(holder), claim USING ERRCODE = 'SY005';
    END IF;
    RAISE EXCEPTION 'claim % on check % has ended (%); claim the next one', claim, ended.check_id, ended.action
    USING ERRCODE = 'SY005';
END
$$;

CREATE OR REPLACE FUNCTION susy.record_decision(check_id uuid, decision text, reviewer text, note text, claim_id uuid)
RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found susy.checks;
    held susy.open_claims;
    who text := btrim(coalesce(reviewer, ''));
    review_id uuid := gen_random_uuid();
BEGIN
    IF decision IS NULL OR decision NOT IN ('authentic', 'synthetic', 'inconclusive') THEN
        RAISE EXCEPTION 'a decision is authentic, synthetic or inconclusive' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF who = '' THEN
        RAISE EXCEPTION 'a review names its reviewer' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF record_decision.claim_id IS NOT NULL AND record_decision.check_id IS NULL THEN
        PERFORM susy.held_claim(record_decision.claim_id, who);
    END IF;
    -- The lock keeps the check from being queued again between this look and the review, and puts reviews in order.
    SELECT c.* INTO found FROM susy.checks AS c WHERE c.id = record_decision.check_id FOR NO KEY UPDATE;
    IF found.id IS NULL THEN
        RAISE EXCEPTION 'no check has the id %', record_decision.check_id USING ERRCODE = 'SY001';
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
            RAISE EXCEPTION 'there is no filter %; filters are source, lane, policy, decision, generator, why, min_score, max_score, since and attributes', quote_ident(key)
            USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF kind <> (CASE key
            WHEN 'min_score' THEN 'number' WHEN 'max_score' THEN 'number' WHEN 'attributes' THEN 'object' ELSE 'string'
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

CREATE OR REPLACE FUNCTION dashboard.record_review(check_id uuid, decision text, reviewer text, note text DEFAULT NULL)
RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT susy.record_decision($1, $2, $3, $4, NULL);
$$;

CREATE OR REPLACE FUNCTION dashboard.decide_claim(claim_id uuid, moderator text, decision text, note text DEFAULT NULL)
RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT susy.record_decision(
        (SELECT c.check_id FROM susy.review_claims AS c WHERE c.claim_id = $1 AND c.action = 'claimed'), $3, $2, $4, $1
    );
$$;

CREATE OR REPLACE FUNCTION dashboard.undo_review(review_id uuid, reviewer text, reason text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who text := btrim(coalesce(reviewer, ''));
    answer susy.golden_answers;
BEGIN
    IF who = '' OR btrim(coalesce(reason, '')) = '' THEN
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
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    who text := btrim(coalesce(claim_next_review.moderator, ''));
    conditions text := susy.claim_conditions(claim_next_review.filters);
    try_golden boolean := random() < susy.review_rate('golden_rate');
    tried uuid[] := '{}';
    item record;
    golden record;
    token uuid;
    ends timestamp with time zone;
BEGIN
    IF who = '' THEN
        RAISE EXCEPTION 'a claim names its moderator' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF claim_next_review.seconds IS NULL OR claim_next_review.seconds NOT BETWEEN 1 AND 86400 THEN
        RAISE EXCEPTION 'a claim is for 1 to 86400 seconds' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM susy.expire_claims();
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
        $query$ INTO item USING who, claim_next_review.filters, tried;
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
            $query$ || conditions || ' ORDER BY random() LIMIT 1' INTO golden USING who, claim_next_review.filters;
            IF golden.check_id IS NOT NULL THEN
                item := golden;
            END IF;
        END IF;
        -- Another session may have taken the check, or the same content, since this statement's snapshot.
        INSERT INTO susy.open_claims AS o (claim_id, check_id, moderator, kind, content_sha256, claimed_until)
        SELECT
            gen_random_uuid(), c.id, who, item.kind, item.content_sha256,
            clock_timestamp() + make_interval(secs => claim_next_review.seconds)
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
    RETURN QUERY
    SELECT
        token, ends, c.id, c.source, c.external_id, c.uri, c.lane, c.attributes,
        CASE WHEN v.needs_review THEN 'policy' ELSE 'audit' END,
        v.decision, v.score, v.generator, v.generator_confidence, v.reasons, v.regions, s.width, s.height,
        -- Not where a second person may be asked about this content, and must not know what was said before.
        CASE WHEN item.kind = 'first'
            AND NOT susy.draws('second:' || coalesce(c.content_sha256, c.id::text), susy.review_rate('second_rate'))
        THEN (
            SELECT r.decision FROM susy.counted_reviews AS r
            WHERE r.content_sha256 = c.content_sha256 AND r.check_id <> c.id
            ORDER BY r.created_at DESC, r.id DESC LIMIT 1
        ) END
    FROM susy.checks AS c
    LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
    LEFT JOIN susy.scans AS s ON s.id = v.scan_id
    WHERE c.id = item.check_id;
END
$$;

CREATE OR REPLACE FUNCTION dashboard.skip_claim(claim_id uuid, moderator text, reason text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims;
BEGIN
    IF btrim(coalesce(reason, '')) = '' THEN
        RAISE EXCEPTION 'skipping a check says why' USING ERRCODE = 'invalid_parameter_value';
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
    held susy.open_claims := susy.held_claim(release_claim.claim_id, release_claim.moderator);
BEGIN
    DELETE FROM susy.open_claims AS o WHERE o.claim_id = held.claim_id;
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, created_at)
    VALUES (held.claim_id, held.check_id, held.moderator, held.kind, 'released', clock_timestamp());
END
$$;

DROP FUNCTION susy.person;
GRANT EXECUTE ON FUNCTION susy.undo_reviews, susy.reviewer_agreement, susy.held_claim TO PUBLIC;
COMMENT ON FUNCTION dashboard.decide_claim IS 'Decide about a check that one has claimed; the id of the review. Refused when the claim has ended and the check was given to others.';
COMMENT ON FUNCTION susy.record_decision(uuid, text, text, text, uuid) IS 'Stores what a person decided, and ends that person''s claim.';
