-- Triggers that count decisions, note what operators do and make cases, and their functions.

CREATE FUNCTION susy.score_bin(score double precision) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(width_bucket(score, ARRAY[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998,
    0.999
]::double precision[]), -1)::smallint;

-- Verdicts only add changes to the counts, so that no transaction waits for another one's sum. New ones are not added up
-- here: most statements add one, for which a sum costs more than the row, and the reconciler adds them up anyway.
CREATE FUNCTION susy.count_new_decisions() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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
CREATE FUNCTION susy.count_changed_decisions() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.decision_changes (
        day, source, policy_name, is_demo, decision, generator, policy_version, weights_sha256, precision, tiling,
        score_bin, checks, needs_review
    )
    SELECT
        (c.created_at AT TIME ZONE 'UTC')::date, c.source, v.policy_name, s.is_demo, v.decision,
        coalesce(v.generator, ''), v.policy_version, s.weights_sha256, s.precision, s.tiling, susy.score_bin(v.score),
        sum(v.sign), coalesce(sum(v.sign) FILTER (WHERE v.needs_review), 0)
    FROM (
        SELECT check_id, scan_id, policy_name, policy_version, decision, generator, score, needs_review, 1 AS sign
        FROM after WHERE mode = 'live'
        UNION ALL
        SELECT check_id, scan_id, policy_name, policy_version, decision, generator, score, needs_review, -1
        FROM before WHERE mode = 'live'
    ) AS v JOIN susy.checks AS c ON c.id = v.check_id JOIN susy.scans AS s ON s.id = v.scan_id
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    HAVING sum(v.sign) <> 0 OR coalesce(sum(v.sign) FILTER (WHERE v.needs_review), 0) <> 0;
    RETURN NULL;
END
$$;
CREATE TRIGGER verdicts_count_new AFTER INSERT ON susy.verdicts REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION susy.count_new_decisions();

CREATE TRIGGER verdicts_count_changed AFTER UPDATE ON susy.verdicts REFERENCING OLD TABLE AS before NEW TABLE AS after
FOR EACH STATEMENT EXECUTE FUNCTION susy.count_changed_decisions();

CREATE FUNCTION susy.note_key() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.operations (kind, action, subject, details) VALUES (
        'key', CASE TG_OP WHEN 'INSERT' THEN 'create' ELSE 'revoke' END, NEW.name,
        jsonb_build_object('id', NEW.id, 'scopes', NEW.scopes, 'sources', NEW.sources, 'expires_at', NEW.expires_at)
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER api_keys_note_new AFTER INSERT ON susy.api_keys FOR EACH ROW EXECUTE FUNCTION susy.note_key();

CREATE TRIGGER api_keys_note_revoked AFTER UPDATE OF revoked_at ON susy.api_keys
FOR EACH ROW WHEN (NEW.revoked_at IS NOT NULL AND OLD.revoked_at IS NULL) EXECUTE FUNCTION susy.note_key();

CREATE FUNCTION susy.note_endpoint() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.operations (kind, action, subject, reason, details) VALUES (
        'endpoint',
        CASE WHEN TG_OP = 'INSERT' THEN 'add' WHEN NEW.disabled_at IS NULL THEN 'enable' ELSE 'disable' END,
        NEW.name, NEW.disabled_reason,
        jsonb_build_object(
            'url', split_part(NEW.url, '?', 1), 'sources', NEW.sources, 'allow_private', NEW.allow_private
        )
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER endpoints_note_new AFTER INSERT ON susy.endpoints FOR EACH ROW EXECUTE FUNCTION susy.note_endpoint();

CREATE TRIGGER endpoints_note_disabled AFTER UPDATE OF disabled_at ON susy.endpoints
FOR EACH ROW WHEN ((NEW.disabled_at IS NULL) <> (OLD.disabled_at IS NULL)) EXECUTE FUNCTION susy.note_endpoint();

CREATE FUNCTION susy.note_endpoint_key() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.operations (kind, action, subject, details)
    SELECT 'endpoint', 'rotate', e.name, jsonb_build_object('signature', NEW.kind)
    FROM susy.endpoints AS e
    WHERE e.id = NEW.endpoint_id AND EXISTS (
        SELECT FROM susy.endpoint_keys AS k WHERE k.endpoint_id = e.id AND k.id < NEW.id
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER endpoint_keys_note_rotated AFTER INSERT ON susy.endpoint_keys
FOR EACH ROW EXECUTE FUNCTION susy.note_endpoint_key();

CREATE FUNCTION susy.note_lane() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.operations (kind, action, subject) VALUES (
        'lane', CASE TG_OP WHEN 'INSERT' THEN 'pause' ELSE 'resume' END,
        CASE TG_OP WHEN 'INSERT' THEN NEW.lane ELSE OLD.lane END
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER paused_lanes_note AFTER INSERT OR DELETE ON susy.paused_lanes
FOR EACH ROW EXECUTE FUNCTION susy.note_lane();

-- A review that says the opposite of the verdict makes a case. Runs as its owner: whoever may review need not be able to
-- write cases.
CREATE FUNCTION susy.add_case() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.cases (
        content_sha256, check_id, source, external_id, uri, policy_name, expected, overridden, added_by
    )
    SELECT c.content_sha256, c.id, c.source, c.external_id, c.uri, v.policy_name, NEW.decision, v.decision, NEW.reviewer
    FROM susy.checks AS c JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
    WHERE c.id = NEW.check_id
        AND (v.decision, NEW.decision) IN (('authentic', 'synthetic'), ('synthetic', 'authentic'))
    ON CONFLICT (content_sha256) DO UPDATE SET
        check_id = excluded.check_id, source = excluded.source, external_id = excluded.external_id, uri = excluded.uri,
        policy_name = excluded.policy_name, expected = excluded.expected, overridden = excluded.overridden,
        added_by = excluded.added_by, added_at = now();
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION susy.add_case FROM PUBLIC;

CREATE TRIGGER reviews_add_case AFTER INSERT ON susy.reviews FOR EACH ROW EXECUTE FUNCTION susy.add_case();

-- Used by dashboard.drift.
CREATE FUNCTION susy.chi_squared_tail(x double precision, degrees integer) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    half double precision := x / 2;
    t double precision;
    term double precision;
    tail double precision;
BEGIN
    IF degrees < 1 OR x < 1e-12 THEN
        RETURN 1;
    ELSIF half > 700 THEN
        RETURN 0;  -- smaller than what can be computed
    ELSIF degrees % 2 = 0 THEN
        term := exp(-half);
        tail := term;
        FOR i IN 1 .. degrees / 2 - 1 LOOP
            term := term * half / i;
            tail := tail + term;
            EXIT WHEN i > half AND term < 1e-200;  -- the next one might be too small for a number
        END LOOP;
        RETURN least(tail, 1);
    END IF;
    -- For one degree of freedom it is erfc(sqrt(x / 2)), here by a rational approximation with a relative error below
    -- 1.2e-7 (Numerical Recipes, erfcc). Postgres has an erfc of its own since version 16.
    t := 1 / (1 + 0.5 * sqrt(half));
    tail := t * exp(-half - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
        + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))));
    term := exp(-half) * sqrt(half) * 2 / sqrt(pi());
    FOR i IN 1 .. degrees / 2 LOOP
        tail := tail + term;
        term := term * half / (i + 0.5);
        EXIT WHEN i > half AND term < 1e-200;
    END LOOP;
    RETURN least(tail, 1);
END
$$;
