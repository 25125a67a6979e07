-- Finds a source's latest checks.
CREATE INDEX ix_checks_source_created_at ON susy.checks (source, created_at);

CREATE VIEW dashboard.arrivals AS
WITH counted AS MATERIALIZED (
    SELECT source, day, sum(checks)::bigint AS checks
    FROM (
        SELECT source, day, checks FROM susy.decision_counts
        WHERE day >= (now() AT TIME ZONE 'UTC')::date - 141
        UNION ALL
        SELECT source, day, checks FROM susy.decision_changes
        WHERE day >= (now() AT TIME ZONE 'UTC')::date - 141
    ) AS c
    GROUP BY source, day
    HAVING sum(checks) > 0
), known AS (
    SELECT
        d.source, a.last_check_at,
        -- Checks that no policy has decided about yet have arrived too. Those that were pruned are only counted.
        greatest(d.day, (a.last_check_at AT TIME ZONE 'UTC')::date) AS last_day
    FROM (SELECT source, max(day) AS day FROM counted GROUP BY source) AS d
    LEFT JOIN LATERAL (
        SELECT created_at AS last_check_at FROM susy.checks WHERE checks.source = d.source
        ORDER BY created_at DESC LIMIT 1
    ) AS a ON true
), latest AS (
    -- The twelve weeks before the source's last day, or since its first day.
    SELECT k.source, k.last_check_at, k.last_day, min(c.day) AS first_day
    FROM known AS k LEFT JOIN counted AS c ON c.source = k.source AND c.day >= k.last_day - 84
    WHERE k.last_day >= (now() AT TIME ZONE 'UTC')::date - 56
    GROUP BY k.source, k.last_check_at, k.last_day
), history AS (
    SELECT l.source, d.day::date AS day, extract(isodow FROM d.day) AS weekday, coalesce(c.checks, 0) AS checks
    FROM latest AS l
    CROSS JOIN LATERAL generate_series(
        l.first_day::timestamp, l.last_day::timestamp - interval '1 day', '1 day'
    ) AS d (day)
    LEFT JOIN counted AS c ON c.source = l.source AND c.day = d.day::date
), weekdays AS (
    SELECT source, weekday FROM history GROUP BY source, weekday HAVING max(checks) > 0
), usual AS (
    SELECT
        source, checks,
        -- Days without checks have the number of the day with checks that they follow.
        count(*) FILTER (WHERE checks > 0) OVER (PARTITION BY source ORDER BY day) AS run
    FROM history JOIN weekdays USING (source, weekday)
), runs AS (
    SELECT
        source, sum(checks) AS checks, count(*) AS days, count(*) FILTER (WHERE checks = 0) AS days_without
    FROM usual
    GROUP BY source, run
), described AS (
    SELECT
        source, sum(checks) / sum(days) AS checks_per_day, sum(days) AS days, sum(days_without) AS days_without,
        max(days_without) AS longest
    FROM runs
    GROUP BY source
), silences AS (
    -- Whole days since then on which the source usually sends.
    SELECT l.source, count(*) AS days
    FROM latest AS l
    CROSS JOIN LATERAL generate_series(
        l.last_day::timestamp + interval '1 day',
        (now() AT TIME ZONE 'UTC')::date::timestamp - interval '1 day', '1 day'
    ) AS d (day)
    JOIN weekdays AS w ON w.source = l.source AND w.weekday = extract(isodow FROM d.day)
    GROUP BY l.source
), judged AS (
    SELECT
        l.source, l.last_check_at, coalesce(h.days, 0) AS days, h.checks_per_day, coalesce(h.longest, 0) AS longest,
        coalesce(s.days, 0) AS silent_days,
        -- The probability that so many further days in sequence are without checks, when each day is, with the same
        -- unknown probability, independently of the others (beta-binomial, with Jeffreys' prior).
        CASE WHEN h.days >= 14 THEN (
            SELECT coalesce(exp(sum(ln((h.days_without + 0.5 + i) / (h.days + 1.0 + i)))), 1)::double precision
            FROM generate_series(0, s.days - 1) AS i
        ) END AS p_value
    FROM latest AS l
    LEFT JOIN described AS h ON h.source = l.source
    LEFT JOIN silences AS s ON s.source = l.source
), ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY p_value IS NULL ORDER BY p_value) AS rank,
        count(p_value) OVER () AS tests
    FROM judged
), adjusted AS (
    SELECT
        *,
        CASE WHEN p_value IS NOT NULL THEN
            least(1, min(p_value * tests / rank) OVER (PARTITION BY p_value IS NULL ORDER BY rank DESC))
        END AS adjusted_p_value
    FROM ranked
)
SELECT
    source,
    CASE
        WHEN p_value IS NULL THEN 'too_few'
        WHEN adjusted_p_value < 0.01 AND silent_days > longest THEN 'silent'
        ELSE 'stable'
    END AS status,
    last_check_at,
    silent_days::integer AS silent_days,
    longest::integer AS longest_silent_days,
    days::integer AS usual_days,
    checks_per_day::double precision AS checks_per_day,
    p_value,
    adjusted_p_value
FROM adjusted;

COMMENT ON VIEW dashboard.arrivals IS 'For each source, when its last check was accepted, and whether it has stopped sending: one row per source that sent within the last eight weeks. Whole days in UTC are compared with the twelve weeks before the source''s last day. Only the days of the week on which it sent in those weeks count.';
COMMENT ON COLUMN dashboard.arrivals.source IS 'The surface or service that submits.';
COMMENT ON COLUMN dashboard.arrivals.status IS 'silent (adjusted p-value below 0.01, and more silent days than ever in the twelve weeks), stable, or too_few (fewer than 14 days to compare with).';
COMMENT ON COLUMN dashboard.arrivals.last_check_at IS 'When its last check was accepted; null when that check was pruned.';
COMMENT ON COLUMN dashboard.arrivals.silent_days IS 'Whole days since its last check on which it usually sends.';
COMMENT ON COLUMN dashboard.arrivals.longest_silent_days IS 'The longest sequence of such days without checks in the twelve weeks.';
COMMENT ON COLUMN dashboard.arrivals.usual_days IS 'Days in the twelve weeks on which it usually sends, at most 84.';
COMMENT ON COLUMN dashboard.arrivals.checks_per_day IS 'Mean number of its checks on these days; null without such days.';
COMMENT ON COLUMN dashboard.arrivals.p_value IS 'Probability, 0 to 1, of so many silent days in sequence if the source were as before; null with status too_few.';
COMMENT ON COLUMN dashboard.arrivals.adjusted_p_value IS 'The same, corrected by Benjamini and Hochberg for all sources.';

ALTER VIEW dashboard.drift SET SCHEMA susy;
ALTER VIEW susy.drift RENAME TO drift_comparisons;

CREATE VIEW dashboard.drift AS
SELECT
    week, source, measure, model_sha256, precision, tiling, policy, policy_version, aggregate, checks, reference_checks,
    psi, chi_squared, degrees_of_freedom, p_value, adjusted_p_value, status, risen, risen_share, risen_reference_share,
    NULL::timestamp with time zone AS last_check_at
FROM susy.drift_comparisons
UNION ALL
SELECT
    date_trunc('week', now() AT TIME ZONE 'UTC')::date, a.source, 'arrivals', NULL, NULL, NULL, NULL, NULL, NULL,
    coalesce(c.checks, 0)::bigint, coalesce(c.reference_checks, 0)::bigint, NULL, NULL, NULL, a.p_value,
    a.adjusted_p_value, a.status, NULL, NULL, NULL, a.last_check_at
FROM dashboard.arrivals AS a
LEFT JOIN (
    SELECT
        source,
        sum(checks) FILTER (WHERE day >= date_trunc('week', now() AT TIME ZONE 'UTC')::date) AS checks,
        sum(checks) FILTER (WHERE day < date_trunc('week', now() AT TIME ZONE 'UTC')::date) AS reference_checks
    FROM (
        SELECT source, day, checks FROM susy.decision_counts
        WHERE day >= date_trunc('week', now() AT TIME ZONE 'UTC')::date - 28
        UNION ALL
        SELECT source, day, checks FROM susy.decision_changes
        WHERE day >= date_trunc('week', now() AT TIME ZONE 'UTC')::date - 28
    ) AS counted
    GROUP BY source
) AS c ON c.source = a.source;

COMMENT ON VIEW dashboard.drift IS 'For each of the last 13 weeks and each source, how the scores, decisions and generators of its checks differ from those of the four weeks before. Only what was measured by the same weights in the same precision and tiling is compared, and decided by the same version of a policy. Checks that were pruned stay counted. In the latest week there is one more row per source, whose measure is arrivals: whether it has stopped sending (dashboard.arrivals).';
COMMENT ON COLUMN dashboard.drift.week IS 'Monday of the week, in UTC, in which the checks were accepted; the latest week may not be over.';
COMMENT ON COLUMN dashboard.drift.source IS 'The surface or service that submitted them.';
COMMENT ON COLUMN dashboard.drift.measure IS 'What is compared: score (a histogram of 22 bins), decision, generator, or arrivals (whether checks arrive as usual).';
COMMENT ON COLUMN dashboard.drift.model_sha256 IS 'Digest of the detector''s weights; null for arrivals, as the next two columns.';
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
COMMENT ON COLUMN dashboard.drift.status IS 'drifted (adjusted p-value below 0.01 and psi at least 0.02), stable, too_few (no test), incomparable (the weeks before have only other weights, precisions, tilings or policy versions), new_source (they have nothing), or silent (it has stopped sending).';
COMMENT ON COLUMN dashboard.drift.risen IS 'The category whose share has risen most: the number of a bin of scores, a decision, or a generator (empty for checks without one).';
COMMENT ON COLUMN dashboard.drift.risen_share IS 'Its share of the week''s checks, 0 to 1.';
COMMENT ON COLUMN dashboard.drift.risen_reference_share IS 'Its share of the reference''s checks, 0 to 1.';
COMMENT ON COLUMN dashboard.drift.last_check_at IS 'For arrivals: when the last check of the source was accepted, unless it was pruned; null otherwise.';
