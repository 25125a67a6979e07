-- A claim passes over a check that is being pruned, instead of failing. The view of drift has no rows without checks.
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

CREATE OR REPLACE VIEW dashboard.drift AS
WITH weekly AS MATERIALIZED (
    SELECT
        day - (day - date '1970-01-05') % 7 AS week, source, weights_sha256, precision, tiling, policy_name,
        policy_version, decision, generator, score_bin, sum(checks::double precision) AS checks
    FROM (
        SELECT
            day, source, weights_sha256, precision, tiling, policy_name, policy_version, decision, generator,
            score_bin, checks
        FROM susy.decision_counts WHERE day >= date_trunc('week', now() AT TIME ZONE 'UTC')::date - 112
        UNION ALL
        SELECT
            day, source, weights_sha256, precision, tiling, policy_name, policy_version, decision, generator,
            score_bin, checks
        FROM susy.decision_changes WHERE day >= date_trunc('week', now() AT TIME ZONE 'UTC')::date - 112
    ) AS counted
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
), listed AS (
    SELECT
        -- One short key for everything that must be the same in two weeks that are compared.
        md5(ROW(
            m.measure, w.source, w.weights_sha256, w.precision, w.tiling, m.policy, m.policy_version, m.aggregate
        )::text)::uuid AS same,
        w.week, w.source, w.weights_sha256, w.precision, w.tiling, m.measure, m.policy, m.policy_version, m.aggregate,
        m.category, w.checks
    FROM weekly AS w
    LEFT JOIN susy.policies AS p ON p.name = w.policy_name AND p.version = w.policy_version
    CROSS JOIN LATERAL (VALUES
        (
            'score', NULL, NULL,
            CASE p.document ->> 'aggregate'
                WHEN 'trimmed_mean' THEN concat_ws(' ', 'trimmed_mean', p.document ->> 'trim_fraction')
                WHEN 'top_fraction' THEN concat_ws(' ', 'top_fraction', p.document ->> 'top_fraction')
                ELSE coalesce(p.document ->> 'aggregate', 'mean')
            END,
            w.score_bin::text
        ),
        ('decision', w.policy_name, w.policy_version, NULL, w.decision),
        ('generator', w.policy_name, w.policy_version, NULL, w.generator)
    ) AS m (measure, policy, policy_version, aggregate, category)
    WHERE m.measure <> 'score' OR w.score_bin >= 0
), categories AS MATERIALIZED (
    SELECT
        same, week, category, sum(checks) AS checks, min(source) AS source, min(weights_sha256) AS weights_sha256,
        min(precision) AS precision, min(tiling) AS tiling, min(measure) AS measure, min(policy) AS policy,
        min(policy_version) AS policy_version, min(aggregate) AS aggregate
    FROM listed GROUP BY same, week, category
), weeks AS (
    SELECT
        same, week, min(source) AS source, min(weights_sha256) AS weights_sha256, min(precision) AS precision,
        min(tiling) AS tiling, min(measure) AS measure, min(policy) AS policy, min(policy_version) AS policy_version,
        min(aggregate) AS aggregate
    FROM categories
    WHERE week >= date_trunc('week', now() AT TIME ZONE 'UTC')::date - 84
    GROUP BY same, week
    -- Of a policy version whose verdicts were all replaced, nothing is left of the week.
    HAVING sum(checks) > 0
), compared AS (
    SELECT
        w.same, w.week, c.category,
        coalesce(sum(c.checks) FILTER (WHERE c.week = w.week), 0)::double precision AS seen,
        coalesce(sum(c.checks) FILTER (WHERE c.week < w.week), 0)::double precision AS before
    FROM weeks AS w JOIN categories AS c ON c.same = w.same AND c.week BETWEEN w.week - 28 AND w.week
    GROUP BY w.same, w.week, c.category
    HAVING sum(c.checks) > 0
), totalled AS (
    SELECT *, sum(seen) OVER pair AS all_seen, sum(before) OVER pair AS all_before, count(*) OVER pair AS kinds
    FROM compared
    WINDOW pair AS (PARTITION BY same, week)
), placed AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY same, week
            ORDER BY seen / nullif(all_seen, 0) - before / nullif(all_before, 0) DESC NULLS LAST, category
        ) AS place
    FROM totalled
), pooled AS (
    SELECT
        same, week, all_seen, all_before,
        CASE
            WHEN (seen + before) * least(all_seen, all_before) >= 5 * (all_seen + all_before) THEN category
        END AS kind,
        sum(seen) AS seen, sum(before) AS before,
        sum(
            ((seen + 0.5) / (all_seen + 0.5 * kinds) - (before + 0.5) / (all_before + 0.5 * kinds))
            * ln((seen + 0.5) * (all_before + 0.5 * kinds) / ((before + 0.5) * (all_seen + 0.5 * kinds)))
        ) AS psi,
        min(category) FILTER (WHERE place = 1) AS risen,
        min(seen / nullif(all_seen, 0)) FILTER (WHERE place = 1) AS risen_share,
        min(before / nullif(all_before, 0)) FILTER (WHERE place = 1) AS risen_before
    FROM placed
    GROUP BY 1, 2, 3, 4, 5
), tested AS (
    SELECT
        same, week, all_seen, all_before, sum(psi) AS psi, count(*) - 1 AS degrees,
        min(risen) AS risen, min(risen_share) AS risen_share, min(risen_before) AS risen_before,
        CASE WHEN all_seen >= 200 AND all_before >= 200 THEN sum(
            (seen * all_before - before * all_seen) ^ 2 / nullif((seen + before) * all_seen * all_before, 0)
        ) END AS chi_squared
    FROM pooled
    GROUP BY 1, 2, 3, 4
), judged AS (
    SELECT *, susy.chi_squared_tail(chi_squared, degrees::integer) AS p_value FROM tested
), ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY week, p_value IS NULL ORDER BY p_value) AS rank,
        count(p_value) OVER (PARTITION BY week) AS tests
    FROM judged
), adjusted AS (
    SELECT
        *,
        CASE WHEN p_value IS NOT NULL THEN
            least(1, min(p_value * tests / rank) OVER (PARTITION BY week, p_value IS NULL ORDER BY rank DESC))
        END AS adjusted_p_value
    FROM ranked
)
SELECT
    a.week,
    w.source,
    w.measure,
    w.weights_sha256 AS model_sha256,
    w.precision,
    w.tiling,
    w.policy,
    w.policy_version,
    w.aggregate,
    a.all_seen::bigint AS checks,
    a.all_before::bigint AS reference_checks,
    CASE WHEN a.p_value IS NOT NULL THEN a.psi END AS psi,
    a.chi_squared,
    CASE WHEN a.p_value IS NOT NULL THEN a.degrees::integer END AS degrees_of_freedom,
    a.p_value,
    a.adjusted_p_value,
    CASE
        WHEN a.all_before = 0 AND EXISTS (
            SELECT FROM categories AS c
            WHERE c.source = w.source AND c.measure = w.measure AND c.week BETWEEN a.week - 28 AND a.week - 7
        ) THEN 'incomparable'
        WHEN a.all_before = 0 THEN 'new_source'
        WHEN a.p_value IS NULL THEN 'too_few'
        WHEN a.adjusted_p_value < 0.01 AND a.psi >= 0.02 THEN 'drifted'
        ELSE 'stable'
    END AS status,
    CASE WHEN a.p_value IS NOT NULL THEN a.risen END AS risen,
    CASE WHEN a.p_value IS NOT NULL THEN a.risen_share END AS risen_share,
    CASE WHEN a.p_value IS NOT NULL THEN a.risen_before END AS risen_reference_share
FROM adjusted AS a
JOIN weeks AS w ON w.same = a.same AND w.week = a.week;
