-- Map of the latest image with a region
-- chart: table
SELECT check_id, external_id, width, height, regions, grid,
    'data:image/png;base64,' || translate(encode(map_png, 'base64'), E'\n', '') AS picture
FROM dashboard.localization
WHERE created_at >= now() - interval '1 hour' AND region_count > 0
ORDER BY created_at DESC
LIMIT 1;
