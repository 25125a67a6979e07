-- Generators by day
-- chart: timeseries
SELECT day::timestamp AT TIME ZONE 'UTC' AS time, generator AS metric, sum(checks)::bigint AS checks
FROM dashboard.generators_by_day
WHERE day >= current_date - 30  -- Grafana: $__timeFilter(day)
GROUP BY day, generator
ORDER BY day, generator;
