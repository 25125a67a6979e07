-- Images of the last hour of which a part looks synthetic
-- chart: table
SELECT created_at, check_id, source, external_id, decision, region_count, region_area
FROM dashboard.localization
WHERE created_at >= now() - interval '1 hour' AND region_count > 0
ORDER BY created_at DESC
LIMIT 50;
