-- Who changed what
-- chart: table
SELECT at, kind, actor, action, subject, reason FROM dashboard.audit_log ORDER BY at DESC LIMIT 50;
