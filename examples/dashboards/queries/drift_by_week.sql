-- Population stability index by week
-- chart: timeseries
SELECT week::timestamp AT TIME ZONE 'UTC' AS time, source || ': ' || measure AS metric, max(psi) AS psi
FROM dashboard.drift
WHERE psi IS NOT NULL
GROUP BY week, source, measure
ORDER BY week, metric;
