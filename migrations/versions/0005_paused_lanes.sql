CREATE TABLE susy.paused_lanes (
    lane text NOT NULL,
    paused_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_paused_lanes PRIMARY KEY (lane),
    CONSTRAINT ck_paused_lanes_lane CHECK (lane IN ('live', 'backfill'))
);

-- Replacing a view keeps its grants and its comments.
CREATE OR REPLACE VIEW dashboard.backlog AS
SELECT
    lanes.lane,
    coalesce(waiting.queued, 0) AS queued,
    coalesce(waiting.due, 0) AS due,
    coalesce(held.running, 0) AS running,
    extract(epoch FROM now() - waiting.oldest_due)::double precision AS oldest_age_seconds,
    paused.paused_at
FROM (VALUES ('live'), ('backfill')) AS lanes (lane)
LEFT JOIN (
    SELECT
        lane,
        count(*) AS queued,
        count(*) FILTER (WHERE next_attempt_at <= now()) AS due,
        min(next_attempt_at) FILTER (WHERE next_attempt_at <= now()) AS oldest_due
    FROM susy.checks WHERE state = 'queued' GROUP BY lane
) AS waiting ON waiting.lane = lanes.lane
LEFT JOIN (
    SELECT lane, count(*) AS running FROM susy.checks WHERE state = 'running' GROUP BY lane
) AS held ON held.lane = lanes.lane
LEFT JOIN susy.paused_lanes AS paused ON paused.lane = lanes.lane;

COMMENT ON COLUMN dashboard.backlog.paused_at IS 'When the lane was paused; null while it is served.';
