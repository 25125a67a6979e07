-- Accepted and done by minute
-- chart: timeseries
SELECT minute AS time, kind AS metric, sum(checks)::bigint AS checks
FROM dashboard.throughput_by_minute
CROSS JOIN LATERAL (VALUES ('accepted', accepted), ('done', done), ('quarantined', quarantined)) AS counted (kind, checks)
WHERE minute >= now() - interval '15 minutes'
GROUP BY minute, kind
ORDER BY minute, kind;
