-- What has drifted
-- chart: table
SELECT week, source, measure, policy, policy_version, checks, reference_checks, psi, adjusted_p_value, risen, risen_share,
    risen_reference_share
FROM dashboard.drift
WHERE status = 'drifted'
ORDER BY week DESC, psi DESC
LIMIT 50;
