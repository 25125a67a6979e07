-- Bulk reviews: one decision about all checks that have ended and match a filter. Private; the command and the HTTP service
-- call these functions. Migrations carry their own text; a test compares the result with this file.

-- A filter as conditions on checks `c` and their live verdicts `v`; the text refers to the filter itself as $1. Raises for
-- a key or a kind of value that no filter has, and for a filter that selects everything.
CREATE FUNCTION susy.bulk_conditions(filters jsonb)
RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key text;
    kind text;
    conditions text := $q$c.state NOT IN ('queued', 'running')$q$;
BEGIN
    IF jsonb_typeof(filters) IS DISTINCT FROM 'object' OR filters - 'sources' - 'reviewed_too' = '{}' THEN
        RAISE EXCEPTION 'a bulk review needs a filter, such as source' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR key, kind IN SELECT f.key, jsonb_typeof(f.value) FROM jsonb_each(filters) AS f LOOP
        conditions := conditions || CASE key
            WHEN 'source' THEN $q$ AND c.source = $1 ->> 'source'$q$
            WHEN 'sources' THEN $q$ AND c.source = ANY (ARRAY(SELECT jsonb_array_elements_text($1 -> 'sources')))$q$
            WHEN 'state' THEN $q$ AND c.state = $1 ->> 'state'$q$
            WHEN 'since' THEN $q$ AND c.created_at >= ($1 ->> 'since')::timestamptz$q$
            WHEN 'until' THEN $q$ AND c.created_at <= ($1 ->> 'until')::timestamptz$q$
            WHEN 'decision' THEN $q$ AND v.decision = $1 ->> 'decision'$q$
            WHEN 'policy' THEN $q$ AND v.policy_name = $1 ->> 'policy'$q$
            WHEN 'generator' THEN $q$ AND v.generator = $1 ->> 'generator'$q$
            WHEN 'min_score' THEN $q$ AND v.score >= ($1 ->> 'min_score')::double precision$q$
            WHEN 'max_score' THEN $q$ AND v.score <= ($1 ->> 'max_score')::double precision$q$
            WHEN 'reviewed_too' THEN ''
        END;
        IF conditions IS NULL THEN
            RAISE EXCEPTION 'there is no filter %; filters are source, sources, state, since, until, decision, policy, generator, min_score, max_score and reviewed_too', quote_ident(key)
            USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF kind <> (CASE key
            WHEN 'min_score' THEN 'number' WHEN 'max_score' THEN 'number' WHEN 'sources' THEN 'array'
            WHEN 'reviewed_too' THEN 'boolean' ELSE 'string'
        END) THEN
            RAISE EXCEPTION 'the filter % does not take %', key, kind USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    IF NOT coalesce((filters ->> 'reviewed_too')::boolean, false) THEN
        conditions := conditions
            || ' AND NOT EXISTS (SELECT FROM susy.counted_reviews AS r WHERE r.check_id = c.id)';
    END IF;
    RETURN conditions;
END
$$;

-- How many checks a bulk review would decide, by source and decision of the verdict.
CREATE FUNCTION susy.count_for_review(filters jsonb)
RETURNS TABLE (source text, decision text, checks bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE $query$
        SELECT c.source, v.decision, count(*)
        FROM susy.checks AS c LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live' WHERE
    $query$ || susy.bulk_conditions(filters) || $query$
        GROUP BY c.source, v.decision ORDER BY count(*) DESC, c.source, v.decision
    $query$ USING filters;
END
$$;

-- Review up to `part` checks that match, those accepted first; without a part, all of them, or none when they are more than
-- `most`. Answers how many were reviewed. Repeating a bulk review with its id answers with the same number.
CREATE FUNCTION susy.review_in_bulk(
    batch_id uuid, filters jsonb, decision text, reviewer text, note text, part integer, most integer
)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who text := susy.person(reviewer, 'a review names its reviewer');
    conditions text := susy.bulk_conditions(filters);
    earlier susy.review_batches;
    check_ids uuid[];
BEGIN
    IF review_in_bulk.decision IS NULL OR review_in_bulk.decision NOT IN ('authentic', 'synthetic', 'inconclusive') THEN
        RAISE EXCEPTION 'a decision is authentic, synthetic or inconclusive' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(review_in_bulk.batch_id::text, 0));
    SELECT b.* INTO earlier FROM susy.review_batches AS b WHERE b.id = review_in_bulk.batch_id;
    IF earlier.id IS NOT NULL THEN
        IF (earlier.reviewer, earlier.decision, earlier.filters) = (who, review_in_bulk.decision, review_in_bulk.filters)
        THEN
            RETURN earlier.reviews;
        END IF;
        RAISE EXCEPTION 'this request was sent before with another bulk review' USING ERRCODE = 'SY007';
    END IF;
    -- Locked in the order of their ids, so that no two sessions wait for each other in a circle.
    EXECUTE $query$
        SELECT array_agg(l.id) FROM (
            SELECT c.id
            FROM susy.checks AS c LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live' WHERE
    $query$ || conditions || $query$
            ORDER BY c.id LIMIT $2 FOR NO KEY UPDATE OF c
        ) AS l
    $query$ INTO check_ids USING filters, CASE WHEN part IS NULL THEN most + 1 ELSE least(part, most) END;
    IF cardinality(check_ids) > most THEN
        RAISE EXCEPTION 'more than % checks match, the most of one bulk review; narrow the filter, or take a part of them with a limit of up to %, and repeat', most, most
        USING ERRCODE = 'SY008';
    END IF;
    -- A statement of its own, whose snapshot shows the reviews and the new attempts that the locks were waited for.
    SELECT array_agg(c.id) INTO check_ids FROM susy.checks AS c
    WHERE c.id = ANY (check_ids) AND c.state NOT IN ('queued', 'running')
        AND (coalesce((filters ->> 'reviewed_too')::boolean, false)
            OR NOT EXISTS (SELECT FROM susy.counted_reviews AS r WHERE r.check_id = c.id));
    IF check_ids IS NULL THEN
        RAISE EXCEPTION 'no check that has ended matches the filter' USING ERRCODE = 'SY001';
    END IF;
    INSERT INTO susy.review_batches (id, reviewer, decision, note, filters, reviews, created_at)
    VALUES (
        review_in_bulk.batch_id, who, review_in_bulk.decision, review_in_bulk.note, review_in_bulk.filters,
        cardinality(check_ids), clock_timestamp()
    );
    INSERT INTO susy.reviews (id, check_id, reviewer, decision, note, content_sha256, batch_id, created_at)
    SELECT
        gen_random_uuid(), c.id, who, review_in_bulk.decision, review_in_bulk.note, c.content_sha256,
        review_in_bulk.batch_id, clock_timestamp()
    FROM susy.checks AS c WHERE c.id = ANY (check_ids);
    RETURN cardinality(check_ids);
END
$$;

REVOKE ALL ON FUNCTION susy.count_for_review, susy.review_in_bulk FROM PUBLIC;
