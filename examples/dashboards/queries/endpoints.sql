-- Endpoints of callbacks
-- chart: table
SELECT name, pending, oldest_pending_at, failed, failures, open_until, disabled_reason FROM dashboard.endpoints
ORDER BY failed DESC, name;
