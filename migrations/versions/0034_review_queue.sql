-- The review queue, page by page and counted, for the HTTP service.
CREATE INDEX ix_review_items_age ON susy.review_items (source, needs_review, waiting_since) WHERE kind = 'first';

-- Which checks of the queue `i` are listed, as conditions: those that wait for their first review, except the contents
-- that are drawn for a second one, and twice as many others as there are golden items. So whoever is given a check that
-- was not in the list learns neither that somebody has reviewed it nor that its answer is known.
CREATE FUNCTION susy.listed_conditions()
RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    second_rate double precision := susy.review_rate('second_rate');
    golden_rate double precision := susy.review_rate('golden_rate');
    conditions text := $q$ AND i.kind = 'first'$q$;
    -- What susy.draws computes, which would take ten times as long for 10,000 checks.
    not_drawn text := $q$ AND ('x' || substr(encode(sha256(convert_to(
        %L || coalesce(i.content_sha256, i.check_id::text), 'UTF8')), 'hex'), 1, 8))::bit(32)::bigint >= %s$q$;
BEGIN
    IF second_rate > 0 THEN
        conditions := conditions || format(not_drawn, 'second:', ceil(second_rate * 4294967296)::bigint);
    END IF;
    IF golden_rate > 0 THEN
        conditions := conditions || format(not_drawn, 'unlisted:', ceil(least(2 * golden_rate, 0.5) * 4294967296)::bigint);
    END IF;
    RETURN conditions;
END
$$;

-- A page of the queue in the order of claims, as an object: `items`, and `next`, the place to continue from, null at the
-- end. `filters` are those of claims. One page looks at 2000 checks at most, so that a filter that few checks match costs
-- no more than others: then it has fewer items than asked for, perhaps none, and a `next`.
CREATE FUNCTION susy.list_review_queue(filters jsonb, after jsonb, most integer)
RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    conditions text := susy.claim_conditions(filters) || susy.listed_conditions();
    looked_at integer := 2000;
    place text := 'i.score_band, i.reach_rank, i.waiting_since, i.check_id';
    scanned text := $q$
        SELECT i.* FROM susy.review_items AS i
        WHERE (i.score_band, i.reach_rank, i.waiting_since, i.check_id) > (
                ($1 ->> 0)::smallint, ($1 ->> 1)::double precision, ($1 ->> 2)::timestamptz, ($1 ->> 3)::uuid
            )
            AND i.score_band BETWEEN $5 AND $6$q$;
    any_source text[];
    first_band smallint := 0;
    last_band smallint := 10;
    items jsonb;
    following jsonb;
BEGIN
    IF list_review_queue.most IS NULL OR list_review_queue.most NOT BETWEEN 1 AND 500 THEN
        RAISE EXCEPTION 'a page has 1 to 500 checks' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF filters ? 'max_score' THEN
        first_band := 10 - round(least(greatest((filters ->> 'max_score')::double precision, 0), 1) * 10);
    END IF;
    IF filters ? 'min_score' THEN
        last_band := 10 - round(least(greatest((filters ->> 'min_score')::double precision, 0), 1) * 10);
    END IF;
    IF filters ? 'source' THEN
        any_source := ARRAY[filters ->> 'source'];
    ELSIF filters ? 'sources' THEN
        any_source := ARRAY(SELECT DISTINCT s.source FROM jsonb_array_elements_text(filters -> 'sources') AS s (source));
    END IF;
    scanned := scanned || CASE
        WHEN any_source IS NULL THEN ''
        WHEN cardinality(any_source) = 1 THEN ' AND i.source = ($7)[1]'
        ELSE ' AND i.source = s.source'
    END || format(' ORDER BY %s LIMIT $4', place);
    IF cardinality(any_source) > 1 THEN
        -- Each source by its own index, however few of the waiting checks it has.
        scanned := format(
            'SELECT i.* FROM unnest($7) AS s (source) CROSS JOIN LATERAL (%s) AS i ORDER BY %s LIMIT $4', scanned, place
        );
    END IF;
    EXECUTE format(
        $query$
            SELECT coalesce(jsonb_agg(jsonb_build_object(
                'check_id', i.check_id, 'source', i.source, 'external_id', c.external_id, 'uri', c.uri, 'lane', i.lane,
                'attributes', c.attributes, 'policy', i.policy,
                'why', CASE WHEN i.needs_review THEN 'policy' ELSE 'audit' END,
                'decision', i.decision, 'score', i.score, 'generator', i.generator,
                'generator_confidence', v.generator_confidence, 'reasons', v.reasons, 'width', s.width,
                'height', s.height, 'waiting_since', i.waiting_since, 'claimed_until', (
                    SELECT o.claimed_until FROM susy.open_claims AS o
                    WHERE o.check_id = i.check_id AND o.kind <> 'golden' AND o.claimed_until > now()
                ),
                'place', jsonb_build_array(i.score_band, i.reach_rank, i.waiting_since, i.check_id)
            ) ORDER BY %1$s), '[]')
            FROM (SELECT i.* FROM (%2$s) AS i WHERE true%3$s ORDER BY %1$s LIMIT $3 + 1) AS i
            JOIN susy.checks AS c ON c.id = i.check_id
            LEFT JOIN susy.verdicts AS v ON v.check_id = i.check_id AND v.mode = 'live'
            LEFT JOIN susy.scans AS s ON s.id = v.scan_id
        $query$,
        place, scanned, conditions
    ) INTO items USING
        coalesce(after, '[-1, 0, "-infinity", "00000000-0000-0000-0000-000000000000"]'), filters, most, looked_at,
        first_band, last_band, any_source;
    IF jsonb_array_length(items) > most THEN
        items := items - most;
        following := items -> -1 -> 'place';
    ELSE
        EXECUTE format(
            'SELECT jsonb_build_array(%1$s) FROM (%2$s) AS i ORDER BY %1$s OFFSET $4 - 1 LIMIT 1', place, scanned
        ) INTO following USING
            coalesce(after, '[-1, 0, "-infinity", "00000000-0000-0000-0000-000000000000"]'), filters, most, looked_at,
            first_band, last_band, any_source;
    END IF;
    RETURN jsonb_build_object('items', items, 'next', following);
END
$$;

-- How many of the listed checks wait, and since when the oldest does: those that a policy sends to a person, and those of
-- audits. Counted to 10,000, so that a long queue costs no more. `sources` are all when null.
CREATE FUNCTION susy.count_review_queue(sources text[])
RETURNS TABLE (why text, checks bigint, is_capped boolean, oldest timestamp with time zone)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        $query$
            WITH RECURSIVE source (name) AS (  -- the next source each time, by the index
                (SELECT i.source FROM susy.review_items AS i WHERE i.kind = 'first' ORDER BY i.source LIMIT 1)
                UNION ALL
                SELECT (
                    SELECT i.source FROM susy.review_items AS i
                    WHERE i.kind = 'first' AND i.source > source.name ORDER BY i.source LIMIT 1
                )
                FROM source WHERE source.name IS NOT NULL
            ), counted (name) AS (
                SELECT source.name FROM source WHERE $1 IS NULL AND source.name IS NOT NULL
                UNION ALL
                SELECT DISTINCT given.name FROM unnest($1) AS given (name)
            )
            SELECT w.why, least(n.checks, 10000), n.checks > 10000, o.oldest
            FROM (VALUES ('policy', true), ('audit', false)) AS w (why, needs_review)
            CROSS JOIN LATERAL (
                SELECT count(*) AS checks FROM (
                    SELECT FROM counted AS s CROSS JOIN LATERAL (
                        SELECT FROM susy.review_items AS i
                        WHERE i.source = s.name AND i.needs_review = w.needs_review%1$s LIMIT 10001
                    ) AS matching LIMIT 10001
                ) AS listed
            ) AS n
            CROSS JOIN LATERAL (
                SELECT min(first.waiting_since) AS oldest FROM counted AS s CROSS JOIN LATERAL (
                    SELECT i.waiting_since FROM susy.review_items AS i
                    WHERE i.source = s.name AND i.needs_review = w.needs_review%1$s
                    ORDER BY i.waiting_since LIMIT 1
                ) AS first
            ) AS o
        $query$,
        susy.listed_conditions()
    ) USING sources;
END
$$;

REVOKE ALL ON FUNCTION susy.list_review_queue, susy.count_review_queue FROM PUBLIC;

COMMENT ON FUNCTION susy.listed_conditions() IS 'Which checks of the review queue are listed, as SQL conditions.';
COMMENT ON FUNCTION susy.list_review_queue(jsonb, jsonb, integer) IS 'A page of the review queue, in the order of claims, and the place to continue from.';
COMMENT ON FUNCTION susy.count_review_queue(text[]) IS 'How many of the listed checks wait, by why they do, and since when the oldest does.';
