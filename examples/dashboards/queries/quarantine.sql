-- Latest quarantined checks
-- chart: table
SELECT finished_at, source, external_id, error_code, error_message FROM dashboard.quarantine
ORDER BY finished_at DESC LIMIT 50;
