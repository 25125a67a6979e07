-- Backlog
-- chart: table
SELECT lane, queued, due, running, oldest_age_seconds, paused_at FROM dashboard.backlog;
