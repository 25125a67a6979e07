-- Drift: what was decided in one period beside what was decided in another, as `dashboard.drift` has it for weeks; and
-- which sources have stopped sending.

-- DRIFT_CATEGORIES: how many checks that were accepted in a period, and how many of a reference period, have which score,
-- decision and generator. Days are in UTC; a period ends before its second day.
SELECT
    source, measure, weights_sha256, precision, tiling, policy, policy_version, aggregate, category,
    coalesce(sum(checks) FILTER (WHERE day >= %(since)s AND day < %(until)s), 0)::bigint AS seen,
    coalesce(sum(checks) FILTER (WHERE day >= %(reference_since)s AND day < %(reference_until)s), 0)::bigint AS before
FROM susy.decision_categories
WHERE day >= least(%(since)s, %(reference_since)s) AND day < greatest(%(until)s, %(reference_until)s)
    AND (%(source)s::text IS NULL OR source = %(source)s)
GROUP BY source, measure, weights_sha256, precision, tiling, policy, policy_version, aggregate, category
ORDER BY source, measure, weights_sha256, precision, tiling, policy, policy_version, aggregate, category;

-- ARRIVALS: when each source's last check was accepted, and whether it has stopped sending; of all sources, or of one.
SELECT
    source, status, last_check_at, silent_days, longest_silent_days, usual_days, checks_per_day, p_value,
    adjusted_p_value
FROM dashboard.arrivals
WHERE %(source)s::text IS NULL OR source = %(source)s
ORDER BY source;
