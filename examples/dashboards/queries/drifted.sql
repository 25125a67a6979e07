-- What has drifted or stopped
-- chart: table
SELECT week, source, measure, policy, policy_version, checks, reference_checks, psi, adjusted_p_value, risen, risen_share,
    risen_reference_share, last_check_at
FROM dashboard.drift
WHERE status IN ('drifted', 'silent')
ORDER BY week DESC, psi DESC
LIMIT 50;
