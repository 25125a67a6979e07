-- What every new verdict costs: its count is a row and not a sum, and a check that nobody has looked at is queued by one
-- INSERT.
CREATE OR REPLACE FUNCTION susy.count_new_decisions() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.decision_changes (
        day, source, policy_name, is_demo, decision, generator, policy_version, weights_sha256, precision, tiling,
        score_bin, checks, needs_review
    )
    SELECT
        (c.created_at AT TIME ZONE 'UTC')::date, c.source, v.policy_name, s.is_demo, v.decision,
        coalesce(v.generator, ''), v.policy_version, s.weights_sha256, s.precision, s.tiling, susy.score_bin(v.score),
        1, v.needs_review::int
    FROM added AS v JOIN susy.checks AS c ON c.id = v.check_id JOIN susy.scans AS s ON s.id = v.scan_id
    WHERE v.mode = 'live';
    RETURN NULL;
END
$$;

-- A verdict that is superseded is followed by the one that takes its place, in the same statement.
CREATE OR REPLACE FUNCTION susy.refresh_after_verdicts()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    check_ids uuid[];
BEGIN
    SELECT array_agg(DISTINCT v.check_id) INTO check_ids FROM changed AS v WHERE v.mode <> 'superseded';
    IF check_ids IS NOT NULL THEN
        PERFORM susy.refresh_review_items(check_ids);
    END IF;
    RETURN NULL;
END
$$;

-- What refresh_review_items would do, in a fraction of its time where nobody has looked at the check yet: nothing when
-- the new verdict asks for nothing, which costs a look for reviews and for an item, and else a first review.
CREATE FUNCTION susy.queue_new_verdicts()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    check_ids uuid[];
    queued bigint;
BEGIN
    SELECT array_agg(v.check_id) INTO check_ids FROM added AS v
    WHERE v.mode = 'live' AND (
        v.needs_review OR v.audit_rate IS NOT NULL
        OR EXISTS (SELECT FROM susy.reviews AS r WHERE r.check_id = v.check_id)
        OR EXISTS (SELECT FROM susy.review_items AS i WHERE i.check_id = v.check_id)
    );
    IF check_ids IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO susy.review_items (
        check_id, kind, source, lane, policy, decision, generator, score, needs_review, content_sha256, score_band,
        reach_rank, waiting_since
    )
    SELECT
        c.id, 'first', c.source, c.lane, v.policy_name, v.decision, v.generator, v.score, v.needs_review,
        c.content_sha256, 10 - round(coalesce(v.score, 0) * 10), -susy.reach_of(c.attributes), v.created_at
    FROM added AS v JOIN susy.checks AS c ON c.id = v.check_id
    WHERE v.mode = 'live'
        AND (v.needs_review OR v.audit_rate IS NOT NULL)
        AND c.state NOT IN ('queued', 'running')
        AND NOT EXISTS (SELECT FROM susy.reviews AS r WHERE r.check_id = v.check_id)
        AND NOT EXISTS (SELECT FROM susy.golden_changes AS g WHERE g.check_id = v.check_id)
        AND NOT EXISTS (SELECT FROM susy.open_claims AS o WHERE o.check_id = v.check_id)
    ON CONFLICT (check_id) DO NOTHING;
    GET DIAGNOSTICS queued = ROW_COUNT;
    IF queued < cardinality(check_ids) THEN
        PERFORM susy.refresh_review_items(check_ids);
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER verdicts_refresh_items_inserted ON susy.verdicts;
CREATE TRIGGER verdicts_refresh_items_inserted AFTER INSERT ON susy.verdicts
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION susy.queue_new_verdicts();

COMMENT ON FUNCTION susy.refresh_after_verdicts() IS 'Trigger: brings the review queue up to date with changed verdicts.';
COMMENT ON FUNCTION susy.queue_new_verdicts() IS 'Trigger: queues checks whose new verdict asks for a review.';
