-- Decisions by day
-- chart: timeseries
SELECT day::timestamp AT TIME ZONE 'UTC' AS time, decision AS metric, sum(checks)::bigint AS checks
FROM dashboard.decisions_by_source_day
WHERE day >= current_date - 30  -- Grafana: $__timeFilter(day)
GROUP BY day, decision
ORDER BY day, decision;
