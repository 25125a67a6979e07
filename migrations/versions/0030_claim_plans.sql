-- Functions that keep their plans between calls: planning them anew took a third of a claim's time.
CREATE OR REPLACE FUNCTION susy.claim_ended_by(claim uuid, holder text, action text)
RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who text := susy.person(holder, 'a claim names its moderator');
BEGIN
    RETURN EXISTS (
        SELECT FROM susy.review_claims AS c
        WHERE c.claim_id = claim AND c.moderator = who AND c.action = claim_ended_by.action
    );
END
$$;

CREATE OR REPLACE FUNCTION susy.shown_claims(claim_ids uuid[])
RETURNS TABLE (
    claim_id uuid, claimed_until timestamp with time zone, check_id uuid, source text, external_id text, uri text,
    lane text, attributes jsonb, why text, decision text, score double precision, generator text,
    generator_confidence double precision, reasons text[], regions jsonb, width integer, height integer,
    reviewed_before text
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        o.claim_id, o.claimed_until, c.id, c.source, c.external_id, c.uri, c.lane, c.attributes,
        CASE WHEN v.needs_review THEN 'policy' ELSE 'audit' END,
        v.decision, v.score, v.generator, v.generator_confidence, v.reasons, v.regions, s.width, s.height,
        -- Not where a second person may be asked about this content, and must not know what was said before.
        CASE WHEN o.kind = 'first'
            AND NOT susy.draws('second:' || coalesce(c.content_sha256, c.id::text), susy.review_rate('second_rate'))
        THEN (
            SELECT r.decision FROM susy.counted_reviews AS r
            WHERE r.content_sha256 = c.content_sha256 AND r.check_id <> c.id
            ORDER BY r.created_at DESC, r.id DESC LIMIT 1
        ) END
    FROM susy.open_claims AS o
    JOIN susy.checks AS c ON c.id = o.check_id
    LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
    LEFT JOIN susy.scans AS s ON s.id = v.scan_id
    WHERE o.claim_id = ANY (shown_claims.claim_ids)
    ORDER BY o.claimed_until, o.claim_id;
END
$$;

CREATE OR REPLACE FUNCTION dashboard.claim_next_review(
    moderator text, filters jsonb DEFAULT '{}', seconds integer DEFAULT 600
)
RETURNS TABLE (
    claim_id uuid, claimed_until timestamp with time zone, check_id uuid, source text, external_id text, uri text,
    lane text, attributes jsonb, why text, decision text, score double precision, generator text,
    generator_confidence double precision, reasons text[], regions jsonb, width integer, height integer,
    reviewed_before text
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT * FROM susy.claim_review($1, $2, $3, NULL);
END
$$;

CREATE OR REPLACE FUNCTION dashboard.held_claims(moderator text)
RETURNS TABLE (
    claim_id uuid, claimed_until timestamp with time zone, check_id uuid, source text, external_id text, uri text,
    lane text, attributes jsonb, why text, decision text, score double precision, generator text,
    generator_confidence double precision, reasons text[], regions jsonb, width integer, height integer,
    reviewed_before text
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who text := susy.person($1, 'a claim names its moderator');
BEGIN
    RETURN QUERY SELECT * FROM susy.shown_claims(ARRAY(
        SELECT o.claim_id FROM susy.open_claims AS o WHERE o.moderator = who
    ));
END
$$;
