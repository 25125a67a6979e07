-- What verdicts are counted by per day: also by what measured, by the version of the policy, and by the bin of the score.
CREATE FUNCTION susy.score_bin(score double precision) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(width_bucket(score, ARRAY[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998,
    0.999
]::double precision[]), -1)::smallint;

ALTER TABLE susy.decision_changes
    ADD COLUMN policy_version text NOT NULL DEFAULT '',
    ADD COLUMN weights_sha256 text NOT NULL DEFAULT '',
    ADD COLUMN precision text NOT NULL DEFAULT '',
    ADD COLUMN tiling text NOT NULL DEFAULT '',
    ADD COLUMN score_bin smallint NOT NULL DEFAULT -1;
ALTER TABLE susy.decision_counts
    ADD COLUMN policy_version text NOT NULL DEFAULT '',
    ADD COLUMN weights_sha256 text NOT NULL DEFAULT '',
    ADD COLUMN precision text NOT NULL DEFAULT '',
    ADD COLUMN tiling text NOT NULL DEFAULT '',
    ADD COLUMN score_bin smallint NOT NULL DEFAULT -1,
    DROP CONSTRAINT pk_decision_counts,
    ADD CONSTRAINT pk_decision_counts PRIMARY KEY (
        day, source, policy_name, is_demo, decision, generator,
        policy_version, weights_sha256, precision, tiling, score_bin
    );
ALTER TABLE susy.decision_changes
    ALTER COLUMN policy_version DROP DEFAULT, ALTER COLUMN weights_sha256 DROP DEFAULT,
    ALTER COLUMN precision DROP DEFAULT, ALTER COLUMN tiling DROP DEFAULT, ALTER COLUMN score_bin DROP DEFAULT;
ALTER TABLE susy.decision_counts
    ALTER COLUMN policy_version DROP DEFAULT, ALTER COLUMN weights_sha256 DROP DEFAULT,
    ALTER COLUMN precision DROP DEFAULT, ALTER COLUMN tiling DROP DEFAULT, ALTER COLUMN score_bin DROP DEFAULT;
TRUNCATE susy.decision_changes, susy.decision_counts;
INSERT INTO susy.decision_counts (
    day, source, policy_name, is_demo, decision, generator, policy_version, weights_sha256, precision, tiling,
    score_bin, checks, needs_review
)
SELECT
    (c.created_at AT TIME ZONE 'UTC')::date, c.source, v.policy_name, s.is_demo, v.decision,
    coalesce(v.generator, ''), v.policy_version, s.weights_sha256, s.precision, s.tiling, susy.score_bin(v.score),
    count(*), count(*) FILTER (WHERE v.needs_review)
FROM susy.verdicts AS v JOIN susy.checks AS c ON c.id = v.check_id JOIN susy.scans AS s ON s.id = v.scan_id
WHERE v.mode = 'live'
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11;

CREATE OR REPLACE FUNCTION susy.count_new_decisions() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.decision_changes (
        day, source, policy_name, is_demo, decision, generator, policy_version, weights_sha256, precision, tiling,
        score_bin, checks, needs_review
    )
    SELECT
        (c.created_at AT TIME ZONE 'UTC')::date, c.source, v.policy_name, s.is_demo, v.decision,
        coalesce(v.generator, ''), v.policy_version, s.weights_sha256, s.precision, s.tiling, susy.score_bin(v.score),
        count(*), count(*) FILTER (WHERE v.needs_review)
    FROM added AS v JOIN susy.checks AS c ON c.id = v.check_id JOIN susy.scans AS s ON s.id = v.scan_id
    WHERE v.mode = 'live'
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11;
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION susy.count_changed_decisions() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.decision_changes (
        day, source, policy_name, is_demo, decision, generator, policy_version, weights_sha256, precision, tiling,
        score_bin, checks, needs_review
    )
    SELECT
        (c.created_at AT TIME ZONE 'UTC')::date, c.source, v.policy_name, s.is_demo, v.decision,
        coalesce(v.generator, ''), v.policy_version, s.weights_sha256, s.precision, s.tiling, susy.score_bin(v.score),
        sum(v.sign), coalesce(sum(v.sign) FILTER (WHERE v.needs_review), 0)
    FROM (
        SELECT check_id, scan_id, policy_name, policy_version, decision, generator, score, needs_review, 1 AS sign
        FROM after WHERE mode = 'live'
        UNION ALL
        SELECT check_id, scan_id, policy_name, policy_version, decision, generator, score, needs_review, -1
        FROM before WHERE mode = 'live'
    ) AS v JOIN susy.checks AS c ON c.id = v.check_id JOIN susy.scans AS s ON s.id = v.scan_id
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    HAVING sum(v.sign) <> 0 OR coalesce(sum(v.sign) FILTER (WHERE v.needs_review), 0) <> 0;
    RETURN NULL;
END
$$;

CREATE FUNCTION susy.chi_squared_tail(x double precision, degrees integer) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    half double precision := x / 2;
    t double precision;
    term double precision;
    tail double precision;
BEGIN
    IF degrees < 1 OR x < 1e-12 THEN
        RETURN 1;
    ELSIF half > 700 THEN
        RETURN 0;  -- smaller than what can be computed
    ELSIF degrees % 2 = 0 THEN
        term := exp(-half);
        tail := term;
        FOR i IN 1 .. degrees / 2 - 1 LOOP
            term := term * half / i;
            tail := tail + term;
            EXIT WHEN i > half AND term < 1e-200;  -- the next one might be too small for a number
        END LOOP;
        RETURN least(tail, 1);
    END IF;
    -- For one degree of freedom it is erfc(sqrt(x / 2)), here by a rational approximation with a relative error below
    -- 1.2e-7 (Numerical Recipes, erfcc). Postgres has an erfc of its own since version 16.
    t := 1 / (1 + 0.5 * sqrt(half));
    tail := t * exp(-half - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
        + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))));
    term := exp(-half) * sqrt(half) * 2 / sqrt(pi());
    FOR i IN 1 .. degrees / 2 LOOP
        tail := tail + term;
        term := term * half / (i + 0.5);
        EXIT WHEN i > half AND term < 1e-200;
    END LOOP;
    RETURN least(tail, 1);
END
$$;

COMMENT ON FUNCTION susy.score_bin IS 'The bin, 0 to 21, of a score in histograms, finer towards 0 and 1; -1 without a score.';
COMMENT ON FUNCTION susy.chi_squared_tail IS 'The probability that a chi-squared variable with so many degrees of freedom is at least x, to seven digits.';
COMMENT ON COLUMN susy.decision_counts.policy_version IS 'Version of the policy that decided.';
COMMENT ON COLUMN susy.decision_counts.weights_sha256 IS 'Digest of the weights that measured.';
COMMENT ON COLUMN susy.decision_counts.precision IS 'In which the network computed: float32, bfloat16 or float16.';
COMMENT ON COLUMN susy.decision_counts.tiling IS 'Grid and stride of the tiles, such as coverage-224.';
COMMENT ON COLUMN susy.decision_counts.score_bin IS 'Bin of the score, 0 to 21, by susy.score_bin; -1 without a score.';
COMMENT ON COLUMN susy.decision_changes.policy_version IS 'Version of the policy that decided.';
COMMENT ON COLUMN susy.decision_changes.weights_sha256 IS 'Digest of the weights that measured.';
COMMENT ON COLUMN susy.decision_changes.precision IS 'In which the network computed: float32, bfloat16 or float16.';
COMMENT ON COLUMN susy.decision_changes.tiling IS 'Grid and stride of the tiles, such as coverage-224.';
COMMENT ON COLUMN susy.decision_changes.score_bin IS 'Bin of the score, 0 to 21, by susy.score_bin; -1 without a score.';

CREATE VIEW susy.decision_categories AS
SELECT
    c.day, c.source, c.weights_sha256, c.precision, c.tiling, m.measure, m.policy, m.policy_version, m.aggregate,
    m.category, sum(c.checks)::bigint AS checks
FROM (
    SELECT
        day, source, weights_sha256, precision, tiling, policy_name, policy_version, decision, generator, score_bin,
        checks
    FROM susy.decision_counts
    UNION ALL
    SELECT
        day, source, weights_sha256, precision, tiling, policy_name, policy_version, decision, generator, score_bin,
        checks
    FROM susy.decision_changes
) AS c
LEFT JOIN susy.policies AS p ON p.name = c.policy_name AND p.version = c.policy_version
CROSS JOIN LATERAL (VALUES
    (
        'score', NULL, NULL,
        CASE p.document ->> 'aggregate'
            WHEN 'trimmed_mean' THEN concat_ws(' ', 'trimmed_mean', p.document ->> 'trim_fraction')
            WHEN 'top_fraction' THEN concat_ws(' ', 'top_fraction', p.document ->> 'top_fraction')
            ELSE coalesce(p.document ->> 'aggregate', 'mean')
        END,
        c.score_bin::text
    ),
    ('decision', c.policy_name, c.policy_version, NULL, c.decision),
    ('generator', c.policy_name, c.policy_version, NULL, c.generator)
) AS m (measure, policy, policy_version, aggregate, category)
WHERE m.measure <> 'score' OR c.score_bin >= 0
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;

COMMENT ON VIEW susy.decision_categories IS 'How many checks of a day have which score, decision and generator: one row per measure and category, of the sums and of what is not in them yet.';
COMMENT ON COLUMN susy.decision_categories.day IS 'Day in UTC on which the checks were accepted.';
COMMENT ON COLUMN susy.decision_categories.source IS 'The surface or service that submitted them.';
COMMENT ON COLUMN susy.decision_categories.weights_sha256 IS 'Digest of the weights that measured.';
COMMENT ON COLUMN susy.decision_categories.precision IS 'In which the network computed: float32, bfloat16 or float16.';
COMMENT ON COLUMN susy.decision_categories.tiling IS 'Grid and stride of the tiles, such as coverage-224.';
COMMENT ON COLUMN susy.decision_categories.measure IS 'score, decision or generator.';
COMMENT ON COLUMN susy.decision_categories.policy IS 'Name of the policy that decided; null for scores.';
COMMENT ON COLUMN susy.decision_categories.policy_version IS 'Its version; null for scores.';
COMMENT ON COLUMN susy.decision_categories.aggregate IS 'For scores: how the policies make one score of the scores of tiles; null otherwise.';
COMMENT ON COLUMN susy.decision_categories.category IS 'The bin of the score, the decision, or the generator (empty without one).';
COMMENT ON COLUMN susy.decision_categories.checks IS 'Number of checks.';

CREATE VIEW dashboard.drift AS
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

COMMENT ON VIEW dashboard.drift IS 'For each of the last 13 weeks and each source, how the scores, decisions and generators of its checks differ from those of the four weeks before. Only what was measured by the same weights in the same precision and tiling is compared, and decided by the same version of a policy. Checks that were pruned stay counted.';
COMMENT ON COLUMN dashboard.drift.week IS 'Monday of the week, in UTC, in which the checks were accepted; the latest week may not be over.';
COMMENT ON COLUMN dashboard.drift.source IS 'The surface or service that submitted them.';
COMMENT ON COLUMN dashboard.drift.measure IS 'What is compared: score (a histogram of 22 bins), decision, or generator.';
COMMENT ON COLUMN dashboard.drift.model_sha256 IS 'Digest of the detector''s weights.';
COMMENT ON COLUMN dashboard.drift.precision IS 'Precision in which the network computed: float32, bfloat16 or float16.';
COMMENT ON COLUMN dashboard.drift.tiling IS 'Grid and stride of the tiles, such as coverage-224.';
COMMENT ON COLUMN dashboard.drift.policy IS 'Name of the policy that decided; null for scores, which do not depend on its thresholds.';
COMMENT ON COLUMN dashboard.drift.policy_version IS 'Version of the policy that decided; null for scores.';
COMMENT ON COLUMN dashboard.drift.aggregate IS 'For scores: how the policies make one score of the tiles'' scores; null otherwise.';
COMMENT ON COLUMN dashboard.drift.checks IS 'Checks of the week; for scores those that have one.';
COMMENT ON COLUMN dashboard.drift.reference_checks IS 'Checks of the four weeks before.';
COMMENT ON COLUMN dashboard.drift.psi IS 'Population stability index: 0 when the shares of all categories are the same; 0.1 is by convention a moderate change, 0.25 a large one. Null with too few checks.';
COMMENT ON COLUMN dashboard.drift.chi_squared IS 'Statistic of the chi-squared test of homogeneity; categories with fewer than five expected checks are taken together. Null with fewer than 200 checks in the week or in the reference.';
COMMENT ON COLUMN dashboard.drift.degrees_of_freedom IS 'Of that test.';
COMMENT ON COLUMN dashboard.drift.p_value IS 'The probability, 0 to 1, of a statistic at least this large when nothing has changed.';
COMMENT ON COLUMN dashboard.drift.adjusted_p_value IS 'The same, corrected by Benjamini and Hochberg for all tests of the week.';
COMMENT ON COLUMN dashboard.drift.status IS 'drifted (adjusted p-value below 0.01 and psi at least 0.02), stable, too_few (no test), incomparable (the weeks before have only other weights, precisions, tilings or policy versions) or new_source (they have nothing).';
COMMENT ON COLUMN dashboard.drift.risen IS 'The category whose share has risen most: the number of a bin of scores, a decision, or a generator (empty for checks without one).';
COMMENT ON COLUMN dashboard.drift.risen_share IS 'Its share of the week''s checks, 0 to 1.';
COMMENT ON COLUMN dashboard.drift.risen_reference_share IS 'Its share of the reference''s checks, 0 to 1.';
