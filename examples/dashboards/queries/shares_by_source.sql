-- Shares of decisions by source, last seven days
-- chart: table
SELECT
    source,
    sum(checks)::bigint AS checks,
    sum(checks) FILTER (WHERE decision = 'synthetic') / sum(checks) AS synthetic,
    sum(checks) FILTER (WHERE decision = 'inconclusive') / sum(checks) AS inconclusive,
    sum(needs_review) / sum(checks) AS to_review
FROM dashboard.decisions_by_source_day
WHERE day > current_date - 7
GROUP BY source
ORDER BY checks DESC;
