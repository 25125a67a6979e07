-- The numbers of the localization map beside its picture. Scans from before have none until their image is examined again.
ALTER TABLE susy.scans
    ADD COLUMN map_x_edges integer[],
    ADD COLUMN map_y_edges integer[],
    ADD COLUMN map_scores smallint[],
    ADD CONSTRAINT ck_scans_map CHECK (
        map_scores IS NULL AND map_x_edges IS NULL AND map_y_edges IS NULL
        OR coalesce(array_length(map_scores, 1) = cardinality(map_y_edges) - 1
        AND array_length(map_scores, 2) = cardinality(map_x_edges) - 1, false)
    );

CREATE VIEW dashboard.localization AS
SELECT
    c.id AS check_id,
    c.source,
    c.external_id,
    c.created_at,
    v.decision,
    v.score,
    v.generator,
    s.width,
    s.height,
    split_part(s.tiling, '-', 2)::integer AS stride,
    s.tiles_total,
    s.tiles_scored,
    s.map_sampled,
    v.regions,
    jsonb_array_length(v.regions) AS region_count,
    (SELECT sum((r ->> 'area')::double precision) FROM jsonb_array_elements(v.regions) AS r) AS region_area,
    CASE WHEN s.map_scores IS NOT NULL THEN jsonb_build_object(
        'width', s.width,
        'height', s.height,
        'x_edges', s.map_x_edges,
        'y_edges', s.map_y_edges,
        'scores', (
            SELECT jsonb_agg(one.scores ORDER BY one.number)
            FROM (
                SELECT
                    (cell.number - 1) / array_length(s.map_scores, 2) AS number,
                    jsonb_agg(trim_scale(cell.score / 10000.0) ORDER BY cell.number) AS scores
                FROM unnest(s.map_scores) WITH ORDINALITY AS cell (score, number)
                GROUP BY 1
            ) AS one
        ),
        'sampled', s.map_sampled
    ) END AS grid,
    s.map_png,
    s.model_name AS model,
    s.weights_sha256 AS model_sha256,
    s.precision,
    s.is_demo
FROM susy.checks AS c
JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
JOIN susy.scans AS s ON s.id = v.scan_id
WHERE s.map_png IS NOT NULL;

COMMENT ON VIEW dashboard.localization IS 'Where on the image of each check that has a map it looks synthetic: the map as a picture and as numbers, and its regions. Select grid and map_png of one check_id at a time.';
COMMENT ON COLUMN dashboard.localization.check_id IS 'The check.';
COMMENT ON COLUMN dashboard.localization.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.localization.external_id IS 'The platform''s own id of the upload.';
COMMENT ON COLUMN dashboard.localization.created_at IS 'When it was accepted.';
COMMENT ON COLUMN dashboard.localization.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.localization.score IS 'Probability that the image is synthetic, 0 to 1; null when no tile could be scored.';
COMMENT ON COLUMN dashboard.localization.generator IS 'The most probable generator of the image when one leads clearly, otherwise unknown_generator; null when authentic or not scored.';
COMMENT ON COLUMN dashboard.localization.width IS 'Width of the image in pixels, upright; stretch the map to it.';
COMMENT ON COLUMN dashboard.localization.height IS 'Height of the image in pixels, upright.';
COMMENT ON COLUMN dashboard.localization.stride IS 'Distance between the tiles of the map in pixels, 56 to 224. Of overlapping tiles a cell has the mean.';
COMMENT ON COLUMN dashboard.localization.tiles_total IS 'How many tiles the image has.';
COMMENT ON COLUMN dashboard.localization.tiles_scored IS 'How many of them were scored. Where none was, the map is transparent and the grid null.';
COMMENT ON COLUMN dashboard.localization.map_sampled IS 'True when the map shows a coarser grid of tiles, each stretched to the place of those that were left out.';
COMMENT ON COLUMN dashboard.localization.regions IS 'Parts that look synthetic, the strongest first: an array of objects as in dashboard.regions.';
COMMENT ON COLUMN dashboard.localization.region_count IS 'How many parts of the image look synthetic.';
COMMENT ON COLUMN dashboard.localization.region_area IS 'Share of the image that lies in regions, 0 to 1; null without regions, or when they were recorded without their areas.';
COMMENT ON COLUMN dashboard.localization.grid IS 'The map as numbers, an object of width and height of the image, x_edges and y_edges (borders of the cells in pixels), scores (one list per row of cells: probability that the cell is synthetic, 0 to 1, null when not scored) and sampled; null for a map that was stored without them.';
COMMENT ON COLUMN dashboard.localization.map_png IS 'The map as the bytes of a PNG file.';
COMMENT ON COLUMN dashboard.localization.model IS 'Name of the detector.';
COMMENT ON COLUMN dashboard.localization.model_sha256 IS 'Digest of the detector''s weights.';
COMMENT ON COLUMN dashboard.localization.precision IS 'Precision in which the network computed: float32, bfloat16 or float16.';
COMMENT ON COLUMN dashboard.localization.is_demo IS 'True when scored by the demonstration weights, which must not be used for decisions.';

CREATE VIEW dashboard.regions AS
SELECT
    v.check_id,
    r.number::integer AS number,
    (r.region ->> 'x')::integer AS x,
    (r.region ->> 'y')::integer AS y,
    (r.region ->> 'width')::integer AS width,
    (r.region ->> 'height')::integer AS height,
    (r.region ->> 'score')::double precision AS score,
    (r.region ->> 'mean_score')::double precision AS mean_score,
    (r.region ->> 'area')::double precision AS area,
    r.region ->> 'generator' AS generator,
    nullif(r.region -> 'polygon', 'null') AS polygon
FROM susy.verdicts AS v
CROSS JOIN jsonb_array_elements(v.regions) WITH ORDINALITY AS r (region, number)
WHERE v.mode = 'live';

COMMENT ON VIEW dashboard.regions IS 'One row per part of an image that looks synthetic. Select by check_id.';
COMMENT ON COLUMN dashboard.regions.check_id IS 'The check.';
COMMENT ON COLUMN dashboard.regions.number IS '1 for the strongest region of the check.';
COMMENT ON COLUMN dashboard.regions.x IS 'Left edge of the rectangle around the region, in pixels of the upright image.';
COMMENT ON COLUMN dashboard.regions.y IS 'Top edge of the rectangle, in pixels.';
COMMENT ON COLUMN dashboard.regions.width IS 'Width of the rectangle in pixels.';
COMMENT ON COLUMN dashboard.regions.height IS 'Height of the rectangle in pixels.';
COMMENT ON COLUMN dashboard.regions.score IS 'Highest score inside, 0 to 1.';
COMMENT ON COLUMN dashboard.regions.mean_score IS 'Mean score of the region''s pixels, 0 to 1; null for regions that were recorded without it.';
COMMENT ON COLUMN dashboard.regions.area IS 'Share of the image inside the outline, 0 to 1; null for regions that were recorded without it.';
COMMENT ON COLUMN dashboard.regions.generator IS 'The most probable generator of the region when one leads clearly, otherwise unknown_generator; null when it was not recorded.';
COMMENT ON COLUMN dashboard.regions.polygon IS 'The outline in pixels, as the coordinates of a GeoJSON polygon: the exterior ring, then the holes, each a list of points [x, y] that ends where it begins; null when it was not recorded.';

-- Comments of what this migration adds, as schema/comments.sql has them.
COMMENT ON COLUMN susy.scans.map_x_edges IS 'Borders between the columns of the map''s cells, in pixels, ascending; null without a map, and for maps that were stored without numbers.';
COMMENT ON COLUMN susy.scans.map_y_edges IS 'Borders between the rows of the map''s cells, in pixels.';
COMMENT ON COLUMN susy.scans.map_scores IS 'For each row of cells, 10,000 times the probability that each is synthetic; null where nothing was scored.';
COMMENT ON COLUMN susy.verdicts.regions IS 'Parts of the image that look synthetic, the strongest first: an array of objects with the columns of dashboard.regions.';

COMMENT ON COLUMN dashboard.checks.regions IS 'Parts of the image that look synthetic, the strongest first: an array of objects with the columns of dashboard.regions.';
COMMENT ON COLUMN dashboard.review_queue.regions IS 'Parts of the image that look synthetic, the strongest first: an array of objects with the columns of dashboard.regions.';
COMMENT ON COLUMN dashboard.verdicts.regions IS 'Parts of the image that look synthetic, the strongest first: an array of objects with the columns of dashboard.regions.';
