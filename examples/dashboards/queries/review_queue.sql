-- First of the review queue
-- chart: table
SELECT id, source, external_id, uri, decision, score, generator, reasons FROM dashboard.review_queue LIMIT 50;
