-- What policies in shadow decide otherwise, last day
-- chart: table
SELECT shadow_policy, shadow_version, decision, shadow_decision, count(*) AS checks
FROM dashboard.shadow_differences
WHERE decided_at >= now() - interval '1 day'
GROUP BY shadow_policy, shadow_version, decision, shadow_decision
ORDER BY checks DESC;
