CREATE TABLE susy.review_batches (
    id UUID NOT NULL,
    reviewer TEXT NOT NULL,
    decision TEXT NOT NULL,
    note TEXT,
    filters JSONB NOT NULL,
    reviews INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_review_batches PRIMARY KEY (id),
    CONSTRAINT ck_review_batches_decision CHECK (decision IN ('authentic', 'synthetic', 'inconclusive')),
    CONSTRAINT ck_review_batches_reviewer CHECK (reviewer <> ''),
    CONSTRAINT ck_review_batches_reviews CHECK (reviews > 0),
    CONSTRAINT ck_review_batches_filters CHECK (jsonb_typeof(filters) = 'object')
);
CREATE INDEX ix_review_batches_created_at ON susy.review_batches (created_at);

ALTER TABLE susy.reviews
    ADD COLUMN batch_id uuid,
    ADD CONSTRAINT fk_reviews_batch_id FOREIGN KEY (batch_id) REFERENCES susy.review_batches (id);
CREATE INDEX ix_reviews_batch_id ON susy.reviews (batch_id) WHERE batch_id IS NOT NULL;

CREATE TABLE susy.review_undos (
    id UUID NOT NULL,
    target_id UUID NOT NULL,
    undone_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    reviews INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_review_undos PRIMARY KEY (id),
    CONSTRAINT ck_review_undos_explained CHECK (undone_by <> '' AND reason <> ''),
    CONSTRAINT ck_review_undos_reviews CHECK (reviews > 0)
);
CREATE INDEX ix_review_undos_created_at ON susy.review_undos (created_at);

CREATE TABLE susy.undone_reviews (
    review_id UUID NOT NULL,
    check_id UUID NOT NULL,
    undo_id UUID NOT NULL,
    CONSTRAINT pk_undone_reviews PRIMARY KEY (review_id),
    CONSTRAINT fk_undone_reviews_review_id FOREIGN KEY(review_id) REFERENCES susy.reviews (id),
    CONSTRAINT fk_undone_reviews_check_id FOREIGN KEY(check_id) REFERENCES susy.checks (id),
    CONSTRAINT fk_undone_reviews_undo_id FOREIGN KEY(undo_id) REFERENCES susy.review_undos (id)
);
CREATE INDEX ix_undone_reviews_check_id ON susy.undone_reviews (check_id);
CREATE INDEX ix_undone_reviews_undo_id ON susy.undone_reviews (undo_id);

CREATE TABLE susy.review_items (
    check_id UUID NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    lane TEXT NOT NULL,
    policy TEXT,
    decision TEXT,
    generator TEXT,
    score DOUBLE PRECISION,
    needs_review BOOLEAN NOT NULL,
    content_sha256 TEXT,
    score_band SMALLINT NOT NULL,
    reach_rank DOUBLE PRECISION NOT NULL,
    waiting_since TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_review_items PRIMARY KEY (check_id),
    CONSTRAINT ck_review_items_kind CHECK (kind IN ('first', 'second', 'third')),
    CONSTRAINT fk_review_items_check_id FOREIGN KEY(check_id) REFERENCES susy.checks (id) ON DELETE CASCADE
);
CREATE INDEX ix_review_items_priority ON susy.review_items (score_band, reach_rank, waiting_since, check_id);
CREATE INDEX ix_review_items_source ON susy.review_items (source, score_band, reach_rank, waiting_since, check_id);

CREATE TABLE susy.open_claims (
    claim_id UUID NOT NULL,
    check_id UUID NOT NULL,
    moderator TEXT NOT NULL,
    kind TEXT NOT NULL,
    content_sha256 TEXT,
    claimed_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_open_claims PRIMARY KEY (claim_id),
    CONSTRAINT ck_open_claims_kind CHECK (kind IN ('first', 'second', 'third', 'golden')),
    CONSTRAINT uq_open_claims_check_id_moderator UNIQUE (check_id, moderator),
    CONSTRAINT fk_open_claims_check_id FOREIGN KEY(check_id) REFERENCES susy.checks (id) ON DELETE CASCADE
);
CREATE INDEX ix_open_claims_claimed_until ON susy.open_claims (claimed_until);
CREATE INDEX ix_open_claims_moderator ON susy.open_claims (moderator);
CREATE UNIQUE INDEX uq_open_claims_check ON susy.open_claims (check_id) WHERE kind <> 'golden';
CREATE UNIQUE INDEX uq_open_claims_content ON susy.open_claims (content_sha256) WHERE kind <> 'golden';

CREATE TABLE susy.review_claims (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    claim_id UUID NOT NULL,
    check_id UUID NOT NULL,
    moderator TEXT NOT NULL,
    kind TEXT NOT NULL,
    action TEXT NOT NULL,
    claimed_until TIMESTAMP WITH TIME ZONE,
    reason TEXT,
    review_id UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_review_claims PRIMARY KEY (id),
    CONSTRAINT ck_review_claims_action CHECK (action IN ('claimed', 'extended', 'decided', 'skipped', 'released', 'expired', 'withdrawn')),
    CONSTRAINT ck_review_claims_kind CHECK (kind IN ('first', 'second', 'third', 'golden')),
    CONSTRAINT ck_review_claims_claimed_has_end CHECK ((action IN ('claimed', 'extended')) = (claimed_until IS NOT NULL)),
    CONSTRAINT ck_review_claims_decided_has_review CHECK ((action = 'decided') = (review_id IS NOT NULL)),
    CONSTRAINT ck_review_claims_skipped_has_reason CHECK (action <> 'skipped' OR reason <> ''),
    CONSTRAINT fk_review_claims_check_id FOREIGN KEY(check_id) REFERENCES susy.checks (id)
);
CREATE INDEX ix_review_claims_check_id ON susy.review_claims (check_id);
CREATE INDEX ix_review_claims_claim_id ON susy.review_claims (claim_id);
CREATE INDEX ix_review_claims_claimed ON susy.review_claims (created_at) WHERE action = 'claimed';
CREATE INDEX ix_review_claims_second ON susy.review_claims (created_at) WHERE action = 'decided' AND kind = 'second';
CREATE INDEX ix_review_claims_skipped ON susy.review_claims (check_id, moderator) WHERE action = 'skipped';
CREATE UNIQUE INDEX uq_review_claims_claimed ON susy.review_claims (claim_id) WHERE action = 'claimed';
CREATE UNIQUE INDEX uq_review_claims_ended ON susy.review_claims (claim_id) WHERE action NOT IN ('claimed', 'extended');

CREATE TABLE susy.golden_changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    check_id UUID NOT NULL,
    decision TEXT,
    changed_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_golden_changes PRIMARY KEY (id),
    CONSTRAINT ck_golden_changes_decision CHECK (decision IN ('authentic', 'synthetic', 'inconclusive')),
    CONSTRAINT ck_golden_changes_explained CHECK (changed_by <> '' AND reason <> ''),
    CONSTRAINT fk_golden_changes_check_id FOREIGN KEY(check_id) REFERENCES susy.checks (id)
);
CREATE INDEX ix_golden_changes_check_id_id ON susy.golden_changes (check_id, id);

CREATE TABLE susy.golden_answers (
    id UUID NOT NULL,
    check_id UUID NOT NULL,
    moderator TEXT NOT NULL,
    decision TEXT,
    expected TEXT,
    note TEXT,
    undoes UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_golden_answers PRIMARY KEY (id),
    CONSTRAINT uq_golden_answers_undoes UNIQUE (undoes),
    CONSTRAINT ck_golden_answers_decision CHECK (decision IN ('authentic', 'synthetic', 'inconclusive')),
    CONSTRAINT ck_golden_answers_expected CHECK (expected IN ('authentic', 'synthetic', 'inconclusive')),
    CONSTRAINT ck_golden_answers_answer_or_undo CHECK ((decision IS NULL) = (undoes IS NOT NULL)),
    CONSTRAINT fk_golden_answers_check_id FOREIGN KEY(check_id) REFERENCES susy.checks (id),
    CONSTRAINT fk_golden_answers_undoes FOREIGN KEY(undoes) REFERENCES susy.golden_answers (id)
);
CREATE INDEX ix_golden_answers_check_id_moderator ON susy.golden_answers (check_id, moderator);

CREATE TRIGGER review_batches_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.review_batches
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

CREATE TRIGGER review_undos_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.review_undos
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

CREATE TRIGGER undone_reviews_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.undone_reviews
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

CREATE TRIGGER review_claims_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.review_claims
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

CREATE TRIGGER golden_changes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.golden_changes
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

CREATE TRIGGER golden_answers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.golden_answers
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

-- The queue of `review_items` replaces this index and this trigger.
DROP INDEX susy.ix_verdicts_to_review;
DROP TRIGGER reviews_mark_reviewed ON susy.reviews;
DROP FUNCTION susy.mark_reviewed;

-- How reviews are counted, undone and queued. Private, as all of the schema `susy`; what moderators' tools call is in
-- `dashboard.sql`. Migrations carry their own text; a test compares the result with this file.

-- The one definition of the review that counts: the latest of its check that was not undone.
CREATE VIEW susy.counted_reviews AS
SELECT r.id, r.check_id, r.reviewer, r.decision, r.note, r.created_at, r.content_sha256, r.batch_id
FROM susy.reviews AS r
WHERE NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = r.id)
    AND NOT EXISTS (
        SELECT FROM susy.reviews AS later
        WHERE later.check_id = r.check_id
            AND (later.created_at, later.id) > (r.created_at, r.id)
            AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = later.id)
    );

-- The checks whose right answer is known, and what it is: the latest change of each.
CREATE VIEW susy.golden_items AS
SELECT g.check_id, g.decision
FROM susy.golden_changes AS g
WHERE g.decision IS NOT NULL
    AND NOT EXISTS (SELECT FROM susy.golden_changes AS later WHERE later.check_id = g.check_id AND later.id > g.id);

-- Checks that two people answered, the second without seeing the first one's answer.
CREATE VIEW susy.double_reviews AS
SELECT
    s.check_id,
    f.reviewer AS first_reviewer,
    f.decision AS first_decision,
    r.reviewer AS second_reviewer,
    r.decision AS second_decision,
    r.created_at
FROM susy.review_claims AS s
JOIN susy.reviews AS r ON r.id = s.review_id
CROSS JOIN LATERAL (
    SELECT e.reviewer, e.decision FROM susy.reviews AS e
    WHERE e.check_id = s.check_id
        AND e.batch_id IS NULL
        AND e.reviewer <> r.reviewer
        AND e.created_at < r.created_at
        AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = e.id)
    ORDER BY e.created_at DESC, e.id DESC LIMIT 1
) AS f
WHERE s.action = 'decided'
    AND s.kind = 'second'
    AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = r.id);

-- A share of contents in 0 to 1, as text and a rate: always the same answer for the same text, and a higher rate draws
-- what a lower one draws.
CREATE FUNCTION susy.draws(word text, rate double precision)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN (('x' || substr(encode(sha256(convert_to(word, 'UTF8')), 'hex'), 1, 8))::bit(32)::bigint) < rate * 4294967296;

-- One of the rates of `susy reviews configure`: of second reviews, or of golden items.
CREATE FUNCTION susy.review_rate(name text)
RETURNS double precision LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN coalesce((
    SELECT (p.configuration -> 'reviews' ->> name)::double precision
    FROM susy.policy_revisions AS p ORDER BY p.revision DESC LIMIT 1
), 0);

-- Reach as a number, whatever was submitted: 0 unless the attribute `reach` is a positive number.
CREATE FUNCTION susy.reach_of(attributes jsonb)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN jsonb_typeof(attributes -> 'reach') = 'number'
    THEN least(greatest((attributes -> 'reach')::numeric, 0), 1000000000000)::double precision
    ELSE 0
END;

-- Make the queue say what these checks need: a first review when the verdict asks for one or was drawn for an audit; a
-- second one, by another person, when the content was drawn for it; a third one when these two disagree. A bulk review
-- settles a check, and is not followed by a second one. A check that is done and has no live verdict at this moment is
-- being decided again, and keeps its place.
CREATE FUNCTION susy.refresh_review_items(check_ids uuid[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    second_rate double precision := susy.review_rate('second_rate');
BEGIN
    UPDATE susy.verdicts AS v SET reviewed_at = r.created_at
    FROM unnest(check_ids) AS given (id) LEFT JOIN susy.counted_reviews AS r ON r.check_id = given.id
    WHERE v.check_id = given.id AND v.mode = 'live' AND (v.reviewed_at IS NULL) <> (r.created_at IS NULL);

    WITH wanted AS (
        SELECT
            c.id, k.kind, c.source, c.lane, c.content_sha256, c.attributes, c.created_at,
            v.policy_name, v.decision, v.generator, v.score, coalesce(v.needs_review, false) AS needs_review,
            v.created_at AS decided_at
        FROM susy.checks AS c
        LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
        LEFT JOIN susy.counted_reviews AS r ON r.check_id = c.id
        CROSS JOIN LATERAL (
            SELECT count(*) AS people, count(DISTINCT a.decision) AS decisions
            FROM (
                SELECT DISTINCT ON (e.reviewer) e.decision FROM susy.reviews AS e
                WHERE e.check_id = c.id
                    AND e.batch_id IS NULL
                    AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = e.id)
                ORDER BY e.reviewer, e.created_at DESC, e.id DESC
            ) AS a
        ) AS answers
        CROSS JOIN LATERAL (
            SELECT CASE
                WHEN c.state = 'done' AND v.id IS NULL THEN 'kept'
                WHEN c.state IN ('queued', 'running') THEN NULL
                WHEN EXISTS (SELECT FROM susy.golden_items AS g WHERE g.check_id = c.id) THEN NULL
                WHEN r.id IS NULL THEN CASE WHEN v.needs_review OR v.audit_rate IS NOT NULL THEN 'first' END
                WHEN r.batch_id IS NOT NULL THEN NULL
                WHEN NOT susy.draws('second:' || coalesce(c.content_sha256, c.id::text), second_rate) THEN NULL
                WHEN answers.people = 1 THEN 'second'
                WHEN answers.people = 2 AND answers.decisions = 2 THEN 'third'
            END AS kind
        ) AS k
        WHERE c.id = ANY (check_ids) AND k.kind IS NOT NULL
    ), withdrawn AS (
        DELETE FROM susy.open_claims AS o
        WHERE o.check_id = ANY (check_ids)
            AND o.kind <> 'golden'
            AND NOT EXISTS (SELECT FROM wanted AS w WHERE w.id = o.check_id AND w.kind IN (o.kind, 'kept'))
        RETURNING o.claim_id, o.check_id, o.moderator, o.kind
    ), logged AS (
        INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, created_at)
        SELECT claim_id, check_id, moderator, kind, 'withdrawn', clock_timestamp() FROM withdrawn
    ), removed AS (
        DELETE FROM susy.review_items AS i
        WHERE i.check_id = ANY (check_ids) AND NOT EXISTS (SELECT FROM wanted AS w WHERE w.id = i.check_id)
    )
    INSERT INTO susy.review_items AS i (
        check_id, kind, source, lane, policy, decision, generator, score, needs_review, content_sha256, score_band,
        reach_rank, waiting_since
    )
    SELECT
        id, kind, source, lane, policy_name, decision, generator, score, needs_review, content_sha256,
        10 - round(coalesce(score, 0) * 10), -susy.reach_of(attributes),
        CASE kind WHEN 'first' THEN decided_at ELSE clock_timestamp() END
    FROM wanted WHERE kind <> 'kept'
    ON CONFLICT (check_id) DO UPDATE SET
        kind = excluded.kind, source = excluded.source, lane = excluded.lane, policy = excluded.policy,
        decision = excluded.decision, generator = excluded.generator, score = excluded.score,
        needs_review = excluded.needs_review, content_sha256 = excluded.content_sha256,
        score_band = excluded.score_band, reach_rank = excluded.reach_rank,
        waiting_since = CASE i.kind WHEN excluded.kind THEN i.waiting_since ELSE excluded.waiting_since END;
END
$$;

CREATE FUNCTION susy.refresh_after_verdicts()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    check_ids uuid[];
BEGIN
    -- Most new verdicts ask for nothing, and cost one look for a review. One that was superseded is followed by the
    -- verdict that took its place, in the same statement.
    SELECT array_agg(DISTINCT v.check_id) INTO check_ids FROM changed AS v
    WHERE (TG_OP <> 'INSERT' AND v.mode <> 'superseded')
        OR (TG_OP = 'INSERT' AND v.mode = 'live' AND (
            v.needs_review OR v.audit_rate IS NOT NULL
            OR EXISTS (SELECT FROM susy.reviews AS r WHERE r.check_id = v.check_id)
            OR EXISTS (SELECT FROM susy.review_items AS i WHERE i.check_id = v.check_id)
        ));
    IF check_ids IS NOT NULL THEN
        PERFORM susy.refresh_review_items(check_ids);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER verdicts_refresh_items_inserted AFTER INSERT ON susy.verdicts
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION susy.refresh_after_verdicts();
CREATE TRIGGER verdicts_refresh_items_updated AFTER UPDATE ON susy.verdicts
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION susy.refresh_after_verdicts();

CREATE FUNCTION susy.refresh_after_reviews()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    check_ids uuid[];
BEGIN
    SELECT array_agg(DISTINCT check_id) INTO check_ids FROM changed;
    IF check_ids IS NOT NULL THEN
        PERFORM susy.refresh_review_items(check_ids);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER reviews_refresh_items AFTER INSERT ON susy.reviews
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION susy.refresh_after_reviews();
CREATE TRIGGER undone_reviews_refresh_items AFTER INSERT ON susy.undone_reviews
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION susy.refresh_after_reviews();
CREATE TRIGGER golden_changes_refresh_items AFTER INSERT ON susy.golden_changes
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION susy.refresh_after_reviews();

-- Tell the platform that a review does not count any more. The event carries the review that counts now, if any does.
CREATE FUNCTION susy.add_undo_event()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO susy.events (
        check_id, source, type, created_at, state, attempts, finished_at, error_code, error_message, review_id
    )
    SELECT
        id, source, 'image.review.undone', clock_timestamp(), state, attempts, finished_at, error_code, error_message,
        NEW.review_id
    FROM susy.checks WHERE id = NEW.check_id AND finished_at IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER undone_reviews_add_event AFTER INSERT ON susy.undone_reviews
FOR EACH ROW EXECUTE FUNCTION susy.add_undo_event();

-- Undo a review, or what is left of a bulk review, by its id; the id of the undo and how many reviews it undid.
CREATE FUNCTION susy.undo_reviews(target uuid, undone_by text, reason text, OUT undo_id uuid, OUT reviews integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_batch boolean := EXISTS (SELECT FROM susy.review_batches AS b WHERE b.id = target);
    is_known boolean := is_batch OR EXISTS (SELECT FROM susy.reviews AS r WHERE r.id = target);
BEGIN
    IF btrim(coalesce(undone_by, '')) = '' OR btrim(coalesce(reason, '')) = '' THEN
        RAISE EXCEPTION 'an undo says by whom and why' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT is_known THEN
        RAISE EXCEPTION 'no review and no bulk review has the id %', target USING ERRCODE = 'SY003';
    END IF;
    -- In one order, so that two undos, or an undo and a bulk review, never wait for each other in a circle.
    PERFORM FROM susy.checks AS c
    WHERE c.id IN (SELECT r.check_id FROM susy.reviews AS r WHERE CASE WHEN is_batch THEN r.batch_id ELSE r.id END = target)
    ORDER BY c.id FOR NO KEY UPDATE;
    undo_id := gen_random_uuid();
    SELECT count(*) INTO reviews FROM susy.reviews AS r
    WHERE (r.batch_id = target OR r.id = target)
        AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = r.id);
    IF reviews = 0 THEN
        RAISE EXCEPTION 'review % was undone before', target USING ERRCODE = 'SY004';
    END IF;
    INSERT INTO susy.review_undos (id, target_id, undone_by, reason, reviews, created_at)
    VALUES (undo_id, target, btrim(undo_reviews.undone_by), btrim(undo_reviews.reason), undo_reviews.reviews, clock_timestamp());
    INSERT INTO susy.undone_reviews (review_id, check_id, undo_id)
    SELECT r.id, r.check_id, undo_reviews.undo_id FROM susy.reviews AS r
    WHERE (r.batch_id = target OR r.id = target)
        AND NOT EXISTS (SELECT FROM susy.undone_reviews AS u WHERE u.review_id = r.id);
END
$$;

-- End claims whose time is over, so that what they held is given to others.
CREATE FUNCTION susy.expire_claims() RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH due AS (
        SELECT o.claim_id FROM susy.open_claims AS o
        WHERE o.claimed_until <= clock_timestamp() ORDER BY o.claimed_until LIMIT 1000 FOR UPDATE SKIP LOCKED
    ), ended AS (
        DELETE FROM susy.open_claims AS o USING due WHERE o.claim_id = due.claim_id
        RETURNING o.claim_id, o.check_id, o.moderator, o.kind
    )
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, created_at)
    SELECT claim_id, check_id, moderator, kind, 'expired', clock_timestamp() FROM ended;
$$;

-- A claim that its holder still has, locked; an error names who ended it and what to do.
CREATE FUNCTION susy.held_claim(claim uuid, holder text)
RETURNS susy.open_claims LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims;
    ended susy.review_claims;
BEGIN
    SELECT o.* INTO held FROM susy.open_claims AS o WHERE o.claim_id = claim AND o.moderator = btrim(holder) FOR UPDATE;
    IF held.claim_id IS NOT NULL THEN
        RETURN held;
    END IF;
    SELECT c.* INTO ended FROM susy.review_claims AS c
    WHERE c.claim_id = claim AND c.moderator = btrim(holder) ORDER BY c.id DESC LIMIT 1;
    IF ended.id IS NULL THEN
        RAISE EXCEPTION '% holds no claim %', btrim(holder), claim USING ERRCODE = 'SY005';
    END IF;
    RAISE EXCEPTION 'claim % on check % has ended (%); claim the next one', claim, ended.check_id, ended.action
    USING ERRCODE = 'SY005';
END
$$;

-- Store what a person decided, for the functions of `dashboard` that do. With a claim, it must still be held; without
-- one, the person's own claim on the check ends. An answer to a golden item decides nothing, and looks like a review.
CREATE FUNCTION susy.record_decision(check_id uuid, decision text, reviewer text, note text, claim_id uuid)
RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found susy.checks;
    held susy.open_claims;
    who text := btrim(coalesce(reviewer, ''));
    review_id uuid := gen_random_uuid();
BEGIN
    IF decision IS NULL OR decision NOT IN ('authentic', 'synthetic', 'inconclusive') THEN
        RAISE EXCEPTION 'a decision is authentic, synthetic or inconclusive' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF who = '' THEN
        RAISE EXCEPTION 'a review names its reviewer' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF record_decision.claim_id IS NOT NULL AND record_decision.check_id IS NULL THEN
        PERFORM susy.held_claim(record_decision.claim_id, who);
    END IF;
    -- The lock keeps the check from being queued again between this look and the review, and puts reviews in order.
    SELECT c.* INTO found FROM susy.checks AS c WHERE c.id = record_decision.check_id FOR NO KEY UPDATE;
    IF found.id IS NULL THEN
        RAISE EXCEPTION 'no check has the id %', record_decision.check_id USING ERRCODE = 'SY001';
    END IF;
    IF found.state IN ('queued', 'running') THEN
        RAISE EXCEPTION 'check % is %; review it when it has ended', found.id, found.state USING ERRCODE = 'SY002';
    END IF;
    IF record_decision.claim_id IS NOT NULL THEN
        held := susy.held_claim(record_decision.claim_id, who);
        IF held.check_id <> found.id THEN
            RAISE EXCEPTION 'claim % is not on check %', held.claim_id, found.id USING ERRCODE = 'SY005';
        END IF;
    ELSE
        SELECT o.* INTO held FROM susy.open_claims AS o
        WHERE o.check_id = found.id AND o.moderator = who FOR UPDATE;
    END IF;
    IF held.claim_id IS NOT NULL THEN
        DELETE FROM susy.open_claims AS o WHERE o.claim_id = held.claim_id;
        INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, review_id, created_at)
        VALUES (held.claim_id, found.id, who, held.kind, 'decided', review_id, clock_timestamp());
    END IF;
    IF held.kind = 'golden' THEN
        INSERT INTO susy.golden_answers (id, check_id, moderator, decision, expected, note)
        VALUES (
            review_id, found.id, who, record_decision.decision,
            (SELECT g.decision FROM susy.golden_items AS g WHERE g.check_id = found.id), record_decision.note
        );
    ELSE
        INSERT INTO susy.reviews (id, check_id, reviewer, decision, note, content_sha256, created_at)
        VALUES (
            review_id, found.id, who, record_decision.decision, record_decision.note, found.content_sha256,
            clock_timestamp()
        );
    END IF;
    RETURN review_id;
END
$$;

-- Filters of a claim as conditions on the queue `i`; the text refers to the filters themselves as $2. Those of scores
-- also name the bands, by which the index begins where they do. Raises for a key or a kind of value that no filter has.
CREATE FUNCTION susy.claim_conditions(filters jsonb)
RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key text;
    kind text;
    conditions text := '';
BEGIN
    IF jsonb_typeof(filters) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'filters are an object' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR key, kind IN SELECT f.key, jsonb_typeof(f.value) FROM jsonb_each(filters) AS f LOOP
        conditions := conditions || CASE key
            WHEN 'source' THEN $q$ AND i.source = $2 ->> 'source'$q$
            WHEN 'lane' THEN $q$ AND i.lane = $2 ->> 'lane'$q$
            WHEN 'policy' THEN $q$ AND i.policy = $2 ->> 'policy'$q$
            WHEN 'decision' THEN $q$ AND i.decision = $2 ->> 'decision'$q$
            WHEN 'generator' THEN $q$ AND i.generator = $2 ->> 'generator'$q$
            WHEN 'why' THEN $q$ AND i.needs_review = ($2 ->> 'why' = 'policy')$q$
            WHEN 'min_score' THEN
                $q$ AND i.score >= ($2 ->> 'min_score')::double precision AND i.score_band <=
                    (10 - round(least(greatest(($2 ->> 'min_score')::double precision, 0), 1) * 10))::smallint$q$
            WHEN 'max_score' THEN
                $q$ AND i.score <= ($2 ->> 'max_score')::double precision AND i.score_band >=
                    (10 - round(least(greatest(($2 ->> 'max_score')::double precision, 0), 1) * 10))::smallint$q$
            WHEN 'since' THEN $q$ AND i.waiting_since >= ($2 ->> 'since')::timestamptz$q$
            WHEN 'attributes' THEN
                $q$ AND (SELECT c.attributes FROM susy.checks AS c WHERE c.id = i.check_id) @> ($2 -> 'attributes')$q$
        END;
        IF conditions IS NULL THEN
            RAISE EXCEPTION 'there is no filter %; filters are source, lane, policy, decision, generator, why, min_score, max_score, since and attributes', quote_ident(key)
            USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF kind <> (CASE key
            WHEN 'min_score' THEN 'number' WHEN 'max_score' THEN 'number' WHEN 'attributes' THEN 'object' ELSE 'string'
        END) THEN
            RAISE EXCEPTION 'the filter % does not take %', key, kind USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    IF filters ? 'why' AND filters ->> 'why' NOT IN ('policy', 'audit') THEN
        RAISE EXCEPTION 'the filter why is policy or audit' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN conditions;
END
$$;

-- How far people agree: of each two of them Cohen's kappa, of all of them (in the row without names) Krippendorff's
-- alpha for nominal data, which allows for people who answered different checks. Both correct for agreement by chance;
-- null when that is undefined, because everybody always gave the same answer.
-- J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20 (1960).
-- K. Krippendorff, "Computing Krippendorff's alpha-reliability", University of Pennsylvania (2011).
CREATE FUNCTION susy.reviewer_agreement(since timestamp with time zone, source text)
RETURNS TABLE (
    reviewer text, other_reviewer text, reviewers bigint, checks bigint, agreement double precision,
    cohens_kappa double precision, krippendorffs_alpha double precision
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH doubles AS (
        SELECT d.* FROM susy.double_reviews AS d JOIN susy.checks AS c ON c.id = d.check_id
        WHERE (reviewer_agreement.since IS NULL OR d.created_at >= reviewer_agreement.since)
            AND (reviewer_agreement.source IS NULL OR c.source = reviewer_agreement.source)
    ), pairs AS (
        SELECT
            least(first_reviewer, second_reviewer) AS one,
            greatest(first_reviewer, second_reviewer) AS other,
            CASE WHEN first_reviewer < second_reviewer THEN first_decision ELSE second_decision END AS one_decision,
            CASE WHEN first_reviewer < second_reviewer THEN second_decision ELSE first_decision END AS other_decision
        FROM doubles
    ), observed AS (
        SELECT one, other, count(*) AS checks, avg((one_decision = other_decision)::int)::double precision AS agreed
        FROM pairs GROUP BY one, other
    ), expected AS (
        SELECT o.one, o.other, sum(a.share * b.share) AS agreed
        FROM observed AS o
        CROSS JOIN unnest(ARRAY['authentic', 'synthetic', 'inconclusive']) AS word
        CROSS JOIN LATERAL (
            SELECT avg((p.one_decision = word)::int)::double precision AS share
            FROM pairs AS p WHERE (p.one, p.other) = (o.one, o.other)
        ) AS a
        CROSS JOIN LATERAL (
            SELECT avg((p.other_decision = word)::int)::double precision AS share
            FROM pairs AS p WHERE (p.one, p.other) = (o.one, o.other)
        ) AS b
        GROUP BY o.one, o.other
    ), answers AS (
        SELECT check_id, first_reviewer AS reviewer, first_decision AS decision FROM doubles
        UNION
        SELECT check_id, second_reviewer, second_decision FROM doubles
    ), answered AS (
        SELECT a.check_id, a.decision, count(*)::double precision AS times FROM answers AS a GROUP BY 1, 2
    ), units AS (
        SELECT check_id, sum(times) AS size, sum(times * times) AS squares FROM answered GROUP BY check_id
    ), totals AS (
        SELECT
            count(*) AS checks, sum(size) AS size,
            sum((size * size - squares) / (size - 1)) / sum(size) AS disagreement,
            avg((size = sqrt(squares))::int)::double precision AS agreed
        FROM units WHERE size > 1
    ), chance AS (
        SELECT (t.size * t.size - sum(w.times * w.times)) / nullif(t.size * (t.size - 1), 0) AS disagreement
        FROM totals AS t CROSS JOIN (SELECT sum(a.times) AS times FROM answered AS a GROUP BY a.decision) AS w
        GROUP BY t.size
    )
    SELECT
        o.one, o.other, 2, o.checks, o.agreed,
        (o.agreed - e.agreed) / nullif(1 - e.agreed, 0), NULL::double precision
    FROM observed AS o JOIN expected AS e USING (one, other)
    UNION ALL
    SELECT
        NULL, NULL, (SELECT count(DISTINCT a.reviewer) FROM answers AS a), t.checks, t.agreed, NULL,
        1 - t.disagreement / nullif(c.disagreement, 0)
    FROM totals AS t CROSS JOIN chance AS c;
$$;

-- Replacing a view keeps its grants and its comments.
CREATE OR REPLACE VIEW dashboard.checks AS
SELECT
    c.id,
    c.source,
    c.external_id,
    c.uri,
    c.lane,
    c.state,
    c.attempts,
    c.created_at,
    c.started_at,
    c.finished_at,
    v.decision,
    v.score,
    v.class_scores,
    v.generator,
    v.reasons,
    v.needs_review,
    v.regions,
    coalesce(v.policy_name, c.policy) AS policy,
    v.policy_version,
    s.model_name AS model,
    s.weights_sha256 AS model_sha256,
    s.is_demo,
    s.width,
    s.height,
    s.tiles_total,
    s.tiles_scored,
    c.content_sha256,
    c.attributes,
    c.error_code,
    c.error_message,
    (SELECT r.decision FROM susy.counted_reviews AS r WHERE r.check_id = c.id) AS review_decision,
    v.generator_confidence,
    s.map_sampled,
    s.precision,
    c.expires_at,
    coalesce((SELECT r.decision FROM susy.counted_reviews AS r WHERE r.check_id = c.id), v.decision) AS final_decision,
    (
        SELECT r.decision FROM susy.counted_reviews AS r
        WHERE r.content_sha256 = c.content_sha256 AND r.check_id <> c.id
        ORDER BY r.created_at DESC, r.id DESC LIMIT 1
    ) AS reviewed_before,
    c.etag,
    c.version_id,
    c.fetched_etag,
    c.fetched_version_id,
    CASE
        WHEN c.etag <> c.fetched_etag OR c.version_id <> c.fetched_version_id THEN true
        WHEN c.etag = c.fetched_etag OR c.version_id = c.fetched_version_id THEN false
    END AS source_changed,
    v.audit_rate
FROM susy.checks AS c
LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
LEFT JOIN susy.scans AS s ON s.id = v.scan_id;

CREATE OR REPLACE VIEW dashboard.review_queue AS
SELECT
    c.id,
    c.source,
    c.external_id,
    c.uri,
    c.lane,
    c.created_at,
    v.created_at AS decided_at,
    v.decision,
    v.score,
    v.generator,
    v.reasons,
    v.regions,
    v.policy_name AS policy,
    v.policy_version,
    c.attributes,
    v.generator_confidence,
    (
        SELECT r.decision FROM susy.counted_reviews AS r
        WHERE r.content_sha256 = c.content_sha256 AND r.check_id <> c.id
        ORDER BY r.created_at DESC, r.id DESC LIMIT 1
    ) AS reviewed_before,
    v.needs_review,
    v.audit_rate,
    i.score_band,
    i.reach_rank,
    i.waiting_since,
    o.moderator AS claimed_by,
    o.claimed_until
FROM susy.review_items AS i
JOIN susy.verdicts AS v ON v.check_id = i.check_id AND v.mode = 'live'
JOIN susy.checks AS c ON c.id = i.check_id
LEFT JOIN susy.open_claims AS o
    ON o.check_id = i.check_id AND o.kind <> 'golden' AND o.claimed_until > now()
WHERE i.kind = 'first'
ORDER BY i.score_band, i.reach_rank, i.waiting_since, i.check_id;

COMMENT ON VIEW dashboard.review_queue IS 'Checks that need a review, or were drawn for an audit, and have none, in the order in which they are given to moderators: by score, reach and age.';
COMMENT ON COLUMN dashboard.review_queue.id IS 'The check.';
COMMENT ON COLUMN dashboard.review_queue.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.review_queue.external_id IS 'The platform''s own id of the upload.';
COMMENT ON COLUMN dashboard.review_queue.uri IS 'The location of the image at submission.';
COMMENT ON COLUMN dashboard.review_queue.lane IS 'live or backfill.';
COMMENT ON COLUMN dashboard.review_queue.created_at IS 'When the check was accepted.';
COMMENT ON COLUMN dashboard.review_queue.decided_at IS 'When the verdict was recorded.';
COMMENT ON COLUMN dashboard.review_queue.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.review_queue.score IS 'Probability that the image is synthetic, 0 to 1; null when no tile could be scored.';
COMMENT ON COLUMN dashboard.review_queue.generator IS 'The most probable generator when one leads clearly, otherwise unknown_generator; null when authentic or not scored.';
COMMENT ON COLUMN dashboard.review_queue.reasons IS 'The reasons for the decision, as words.';
COMMENT ON COLUMN dashboard.review_queue.regions IS 'Parts of the image that look synthetic, the strongest first: an array of objects with the columns of dashboard.regions.';
COMMENT ON COLUMN dashboard.review_queue.policy IS 'Name of the policy that decided.';
COMMENT ON COLUMN dashboard.review_queue.policy_version IS 'Version of the policy that decided.';
COMMENT ON COLUMN dashboard.review_queue.attributes IS 'The attributes that were submitted with the check.';
COMMENT ON COLUMN dashboard.review_queue.generator_confidence IS 'Share of the synthetic probability that its most probable generator holds, 0 to 1; null without a generator.';
COMMENT ON COLUMN dashboard.review_queue.reviewed_before IS 'The decision of the latest review of another check of the same content; null without one.';
COMMENT ON COLUMN dashboard.review_queue.needs_review IS 'Whether the policy asks for a review; false when the check is here for an audit alone.';
COMMENT ON COLUMN dashboard.review_queue.audit_rate IS 'The probability with which the content was drawn for an audit, above 0 and up to 1; null when it was not drawn.';
COMMENT ON COLUMN dashboard.review_queue.score_band IS 'First key of the order, ascending: 0 for scores of 0.95 and above, 10 for those below 0.05 and for images that could not be scored.';
COMMENT ON COLUMN dashboard.review_queue.reach_rank IS 'Second key of the order, ascending: minus the attribute reach, if that is a positive number, else 0.';
COMMENT ON COLUMN dashboard.review_queue.waiting_since IS 'Third key of the order, ascending: since when the check waits for a review.';
COMMENT ON COLUMN dashboard.review_queue.claimed_by IS 'Who looks at it at this moment; null when nobody does.';
COMMENT ON COLUMN dashboard.review_queue.claimed_until IS 'When that claim ends, unless it is extended; null without one.';


CREATE OR REPLACE VIEW dashboard.reviews AS
SELECT
    r.check_id,
    r.reviewer,
    r.decision,
    r.note,
    r.created_at,
    r.id,
    r.batch_id,
    (
        SELECT n.created_at FROM susy.undone_reviews AS u JOIN susy.review_undos AS n ON n.id = u.undo_id
        WHERE u.review_id = r.id
    ) AS undone_at
FROM susy.reviews AS r;

COMMENT ON VIEW dashboard.reviews IS 'Decisions by people; rows are only added.';
COMMENT ON COLUMN dashboard.reviews.check_id IS 'The check.';
COMMENT ON COLUMN dashboard.reviews.reviewer IS 'Who decided.';
COMMENT ON COLUMN dashboard.reviews.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.reviews.note IS 'The reviewer''s note.';
COMMENT ON COLUMN dashboard.reviews.created_at IS 'When it was added.';
COMMENT ON COLUMN dashboard.reviews.id IS 'The review, for `susy reviews undo`.';
COMMENT ON COLUMN dashboard.reviews.batch_id IS 'The bulk review that it is a part of; null for the review of one check.';
COMMENT ON COLUMN dashboard.reviews.undone_at IS 'Since when it does not count any more; null while it does.';

CREATE VIEW dashboard.double_reviews AS
SELECT d.check_id, c.source, d.first_reviewer, d.first_decision, d.second_reviewer, d.second_decision, d.created_at
FROM susy.double_reviews AS d
JOIN susy.checks AS c ON c.id = d.check_id;

COMMENT ON VIEW dashboard.double_reviews IS 'Checks that two people decided about, the second without seeing the first one''s decision.';
COMMENT ON COLUMN dashboard.double_reviews.check_id IS 'The check.';
COMMENT ON COLUMN dashboard.double_reviews.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.double_reviews.first_reviewer IS 'Who decided first.';
COMMENT ON COLUMN dashboard.double_reviews.first_decision IS 'What that person decided: authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.double_reviews.second_reviewer IS 'Who decided second.';
COMMENT ON COLUMN dashboard.double_reviews.second_decision IS 'What that person decided: authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.double_reviews.created_at IS 'When the second person decided.';

CREATE VIEW dashboard.reviewer_agreement AS
SELECT reviewer, other_reviewer, reviewers, checks, agreement, cohens_kappa, krippendorffs_alpha
FROM susy.reviewer_agreement(NULL, NULL);

COMMENT ON VIEW dashboard.reviewer_agreement IS 'How far people agree about the checks that two of them decided about: one row per pair, and one without names for all of them.';
COMMENT ON COLUMN dashboard.reviewer_agreement.reviewer IS 'One person; null in the row of all.';
COMMENT ON COLUMN dashboard.reviewer_agreement.other_reviewer IS 'The other person; null in the row of all.';
COMMENT ON COLUMN dashboard.reviewer_agreement.reviewers IS 'How many people the row is about.';
COMMENT ON COLUMN dashboard.reviewer_agreement.checks IS 'How many checks two of them decided about.';
COMMENT ON COLUMN dashboard.reviewer_agreement.agreement IS 'Share of these checks about which they decided the same, 0 to 1.';
COMMENT ON COLUMN dashboard.reviewer_agreement.cohens_kappa IS 'Agreement beyond chance of the pair, at most 1; null in the row of all, and when both always decided the same one way.';
COMMENT ON COLUMN dashboard.reviewer_agreement.krippendorffs_alpha IS 'Agreement beyond chance of all, at most 1; null in the rows of pairs, and when everybody always decided the same one way.';

-- The interval is Wilson's: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
-- Journal of the American Statistical Association 22 (1927).
CREATE VIEW dashboard.reviewer_accuracy AS
SELECT
    moderator AS reviewer,
    answers,
    correct,
    inconclusive,
    correct::double precision / answers AS accuracy,
    (share + z2 / 2 - sqrt(z2 * (share * (1 - share) + z2 / 4))) / (1 + z2) AS accuracy_low,
    (share + z2 / 2 + sqrt(z2 * (share * (1 - share) + z2 / 4))) / (1 + z2) AS accuracy_high
FROM (
    SELECT
        g.moderator,
        count(*) AS answers,
        count(*) FILTER (WHERE g.decision = g.expected) AS correct,
        count(*) FILTER (WHERE g.decision = 'inconclusive' AND g.expected <> 'inconclusive') AS inconclusive,
        avg((g.decision = g.expected)::int)::double precision AS share,
        3.841458820694124::double precision / count(*) AS z2
    FROM susy.golden_answers AS g
    WHERE g.expected IS NOT NULL
        AND g.decision IS NOT NULL
        AND NOT EXISTS (SELECT FROM susy.golden_answers AS u WHERE u.undoes = g.id)
    GROUP BY g.moderator
) AS counted;

COMMENT ON VIEW dashboard.reviewer_accuracy IS 'How often people were right about golden items: checks whose answer is known, hidden among the others.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.reviewer IS 'The person.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.answers IS 'How many golden items that person decided about.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.correct IS 'How many of these decisions were the known ones.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.inconclusive IS 'How many were inconclusive where the known one is not; they count as not correct.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.accuracy IS 'Share of the correct ones, 0 to 1.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.accuracy_low IS 'Lower end of its 95 % interval.';
COMMENT ON COLUMN dashboard.reviewer_accuracy.accuracy_high IS 'Upper end of its 95 % interval.';

CREATE VIEW dashboard.review_claims AS
SELECT
    c.claim_id,
    c.check_id,
    c.moderator,
    c.kind,
    c.created_at AS claimed_at,
    e.created_at AS ended_at,
    e.action AS outcome,
    extract(epoch FROM e.created_at - c.created_at)::double precision AS seconds,
    e.reason,
    (
        SELECT count(*) FROM susy.review_claims AS x WHERE x.claim_id = c.claim_id AND x.action = 'extended'
    ) AS extensions
FROM susy.review_claims AS c
LEFT JOIN susy.review_claims AS e ON e.claim_id = c.claim_id AND e.action NOT IN ('claimed', 'extended')
WHERE c.action = 'claimed';

COMMENT ON VIEW dashboard.review_claims IS 'Every check that was given to a moderator, and what became of it; rows are only added. Of decided ones, seconds is the time to decision.';
COMMENT ON COLUMN dashboard.review_claims.claim_id IS 'The claim.';
COMMENT ON COLUMN dashboard.review_claims.check_id IS 'The check.';
COMMENT ON COLUMN dashboard.review_claims.moderator IS 'Who it was given to.';
COMMENT ON COLUMN dashboard.review_claims.kind IS 'first, second or third review, or golden for an item whose answer is known. Moderators are not told.';
COMMENT ON COLUMN dashboard.review_claims.claimed_at IS 'When it was given.';
COMMENT ON COLUMN dashboard.review_claims.ended_at IS 'When the claim ended; null while it is held.';
COMMENT ON COLUMN dashboard.review_claims.outcome IS 'decided, skipped, released, expired or withdrawn (somebody else decided without a claim); null while it is held.';
COMMENT ON COLUMN dashboard.review_claims.seconds IS 'Seconds for which it was held; null while it is.';
COMMENT ON COLUMN dashboard.review_claims.reason IS 'Why it was skipped.';
COMMENT ON COLUMN dashboard.review_claims.extensions IS 'How often it was extended.';

CREATE OR REPLACE VIEW dashboard.audit_log AS
SELECT
    changed_at AS at,
    'policy'::text AS kind,
    changed_by AS actor,
    change AS action,
    'revision ' || revision AS subject,
    reason,
    jsonb_build_object('revision', revision) AS details
FROM susy.policy_revisions
UNION ALL
SELECT created_at, 'review', reviewer, decision, check_id::text, note, jsonb_build_object('id', id)
FROM susy.reviews WHERE batch_id IS NULL
UNION ALL
SELECT
    created_at, 'review', reviewer, 'bulk ' || decision, reviews || ' checks', note,
    jsonb_build_object('id', id, 'filters', filters)
FROM susy.review_batches
UNION ALL
SELECT
    created_at, 'review', undone_by, 'undo', 'review ' || target_id, reason,
    jsonb_build_object('id', id, 'reviews', reviews)
FROM susy.review_undos
UNION ALL
SELECT
    created_at, 'golden', changed_by, coalesce('add as ' || decision, 'remove'), check_id::text, reason,
    jsonb_build_object('id', id)
FROM susy.golden_changes
UNION ALL
SELECT
    started_at, 'policy', applied_by, 'apply ' || policy_name || '@' || policy_version, 'application ' || id, reason,
    jsonb_build_object('filter', filter, 'replaced', replaced, 'changed', changed)
FROM susy.policy_applications
UNION ALL
SELECT at, kind, actor, action, subject, reason, details FROM susy.operations;

COMMENT ON VIEW dashboard.audit_log IS 'What people changed: policies, reviews and what was undone of them, golden items, API keys, endpoints, paused lanes, checks that operators queued again or cancelled, and what was pruned. Rows are only added.';
COMMENT ON COLUMN dashboard.audit_log.at IS 'When.';
COMMENT ON COLUMN dashboard.audit_log.kind IS 'policy, review, golden, key, endpoint, lane, checks or prune.';
COMMENT ON COLUMN dashboard.audit_log.actor IS 'Who: for policies and reviews the name that was given, otherwise the database''s login, which is all that it knows.';
COMMENT ON COLUMN dashboard.audit_log.action IS 'What was done: the change or the application of a policy, the decision of the review (of many checks with bulk before it), undo, add as or remove for golden items, or create, revoke, add, disable, enable, rotate, pause, resume, retry, cancel, prune.';
COMMENT ON COLUMN dashboard.audit_log.subject IS 'To what: a revision, an application of a policy, a check, a review that was undone, the name of a key, an endpoint or a lane, or the number of checks.';
COMMENT ON COLUMN dashboard.audit_log.reason IS 'Why, where it was said: the reason of a policy change, the note of a review, why a review was undone, why an endpoint was disabled.';

-- What moderators' tools call. No function tells what anybody else decided about a check.

CREATE OR REPLACE FUNCTION dashboard.record_review(check_id uuid, decision text, reviewer text, note text DEFAULT NULL)
RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT susy.record_decision($1, $2, $3, $4, NULL);
$$;

CREATE FUNCTION dashboard.decide_claim(claim_id uuid, moderator text, decision text, note text DEFAULT NULL)
RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT susy.record_decision(
        (SELECT c.check_id FROM susy.review_claims AS c WHERE c.claim_id = $1 AND c.action = 'claimed'), $3, $2, $4, $1
    );
$$;

CREATE FUNCTION dashboard.undo_review(review_id uuid, reviewer text, reason text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who text := btrim(coalesce(reviewer, ''));
    answer susy.golden_answers;
BEGIN
    IF who = '' OR btrim(coalesce(reason, '')) = '' THEN
        RAISE EXCEPTION 'an undo says by whom and why' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT g.* INTO answer FROM susy.golden_answers AS g
    WHERE g.id = undo_review.review_id AND g.moderator = who AND g.decision IS NOT NULL;
    IF answer.id IS NOT NULL THEN
        INSERT INTO susy.golden_answers (id, check_id, moderator, note, undoes)
        VALUES (gen_random_uuid(), answer.check_id, who, undo_review.reason, answer.id)
        ON CONFLICT (undoes) DO NOTHING;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'review % was undone before', undo_review.review_id USING ERRCODE = 'SY004';
        END IF;
    ELSIF EXISTS (
        SELECT FROM susy.reviews AS r WHERE r.id = undo_review.review_id AND r.reviewer = who AND r.batch_id IS NULL
    ) THEN
        PERFORM susy.undo_reviews(undo_review.review_id, who, undo_review.reason);
    ELSE
        RAISE EXCEPTION '% gave no review with the id %', who, undo_review.review_id USING ERRCODE = 'SY003';
    END IF;
END
$$;

CREATE FUNCTION dashboard.claim_next_review(
    moderator text, filters jsonb DEFAULT '{}', seconds integer DEFAULT 600
)
RETURNS TABLE (
    claim_id uuid, claimed_until timestamp with time zone, check_id uuid, source text, external_id text, uri text,
    lane text, attributes jsonb, why text, decision text, score double precision, generator text,
    generator_confidence double precision, reasons text[], regions jsonb, width integer, height integer,
    reviewed_before text
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    who text := btrim(coalesce(claim_next_review.moderator, ''));
    conditions text := susy.claim_conditions(claim_next_review.filters);
    try_golden boolean := random() < susy.review_rate('golden_rate');
    tried uuid[] := '{}';
    item record;
    golden record;
    token uuid;
    ends timestamp with time zone;
BEGIN
    IF who = '' THEN
        RAISE EXCEPTION 'a claim names its moderator' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF claim_next_review.seconds IS NULL OR claim_next_review.seconds NOT BETWEEN 1 AND 86400 THEN
        RAISE EXCEPTION 'a claim is for 1 to 86400 seconds' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM susy.expire_claims();
    IF (SELECT count(*) FROM susy.open_claims AS o WHERE o.moderator = who) >= 50 THEN
        RAISE EXCEPTION '% holds 50 claims; decide, skip or release some', who USING ERRCODE = 'SY006';
    END IF;
    LOOP
        EXECUTE $query$
            SELECT i.check_id, i.kind, i.content_sha256 FROM susy.review_items AS i
            WHERE i.check_id <> ALL ($3)
                AND NOT EXISTS (
                    SELECT FROM susy.open_claims AS o WHERE o.check_id = i.check_id AND o.kind <> 'golden'
                )
                AND NOT EXISTS (
                    SELECT FROM susy.open_claims AS o WHERE o.content_sha256 = i.content_sha256 AND o.kind <> 'golden'
                )
                AND NOT EXISTS (
                    SELECT FROM susy.review_claims AS s
                    WHERE s.check_id = i.check_id AND s.moderator = $1 AND s.action = 'skipped'
                )
                AND (i.kind = 'first' OR NOT EXISTS (
                    SELECT FROM susy.reviews AS r WHERE r.check_id = i.check_id AND r.reviewer = $1
                ))
                AND (i.kind = 'first' OR NOT EXISTS (
                    SELECT FROM susy.reviews AS r WHERE r.content_sha256 = i.content_sha256 AND r.reviewer = $1
                ))
        $query$ || conditions || $query$
            ORDER BY i.score_band, i.reach_rank, i.waiting_since, i.check_id LIMIT 1 FOR UPDATE OF i SKIP LOCKED
        $query$ INTO item USING who, claim_next_review.filters, tried;
        IF item.check_id IS NULL THEN
            RETURN;
        END IF;
        IF try_golden THEN
            try_golden := false;
            EXECUTE $query$
                SELECT i.check_id, 'golden' AS kind, i.content_sha256
                FROM (
                    SELECT
                        c.id AS check_id, c.source, c.lane, c.content_sha256, c.created_at AS waiting_since, v.decision,
                        v.policy_name AS policy, v.generator, v.score, coalesce(v.needs_review, false) AS needs_review,
                        (10 - round(coalesce(v.score, 0) * 10))::smallint AS score_band
                    FROM susy.golden_items AS g
                    JOIN susy.checks AS c ON c.id = g.check_id
                    LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
                ) AS i
                WHERE NOT EXISTS (
                        SELECT FROM susy.golden_answers AS a
                        WHERE a.check_id = i.check_id AND a.moderator = $1 AND a.decision IS NOT NULL
                            AND NOT EXISTS (SELECT FROM susy.golden_answers AS u WHERE u.undoes = a.id)
                    )
                    AND NOT EXISTS (SELECT FROM susy.reviews AS r WHERE r.check_id = i.check_id AND r.reviewer = $1)
                    AND NOT EXISTS (
                        SELECT FROM susy.open_claims AS o WHERE o.check_id = i.check_id AND o.moderator = $1
                    )
                    AND NOT EXISTS (
                        SELECT FROM susy.review_claims AS s
                        WHERE s.check_id = i.check_id AND s.moderator = $1 AND s.action = 'skipped'
                    )
            $query$ || conditions || ' ORDER BY random() LIMIT 1' INTO golden USING who, claim_next_review.filters;
            IF golden.check_id IS NOT NULL THEN
                item := golden;
            END IF;
        END IF;
        -- Another session may have taken the check, or the same content, since this statement's snapshot.
        INSERT INTO susy.open_claims AS o (claim_id, check_id, moderator, kind, content_sha256, claimed_until)
        SELECT
            gen_random_uuid(), c.id, who, item.kind, item.content_sha256,
            clock_timestamp() + make_interval(secs => claim_next_review.seconds)
        FROM susy.checks AS c
        WHERE c.id = item.check_id AND c.state NOT IN ('queued', 'running')
            AND (item.kind = 'golden' OR EXISTS (
                SELECT FROM susy.review_items AS i WHERE i.check_id = c.id AND i.kind = item.kind
            ))
        ON CONFLICT DO NOTHING
        RETURNING o.claim_id, o.claimed_until INTO token, ends;
        EXIT WHEN token IS NOT NULL;
        tried := tried || item.check_id;
    END LOOP;
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, claimed_until, created_at)
    VALUES (token, item.check_id, who, item.kind, 'claimed', ends, clock_timestamp());
    RETURN QUERY
    SELECT
        token, ends, c.id, c.source, c.external_id, c.uri, c.lane, c.attributes,
        CASE WHEN v.needs_review THEN 'policy' ELSE 'audit' END,
        v.decision, v.score, v.generator, v.generator_confidence, v.reasons, v.regions, s.width, s.height,
        -- Not where a second person may be asked about this content, and must not know what was said before.
        CASE WHEN item.kind = 'first'
            AND NOT susy.draws('second:' || coalesce(c.content_sha256, c.id::text), susy.review_rate('second_rate'))
        THEN (
            SELECT r.decision FROM susy.counted_reviews AS r
            WHERE r.content_sha256 = c.content_sha256 AND r.check_id <> c.id
            ORDER BY r.created_at DESC, r.id DESC LIMIT 1
        ) END
    FROM susy.checks AS c
    LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
    LEFT JOIN susy.scans AS s ON s.id = v.scan_id
    WHERE c.id = item.check_id;
END
$$;

CREATE FUNCTION dashboard.extend_claim(claim_id uuid, moderator text, seconds integer DEFAULT 600)
RETURNS timestamp with time zone LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims;
    ends timestamp with time zone;
BEGIN
    IF extend_claim.seconds IS NULL OR extend_claim.seconds NOT BETWEEN 1 AND 86400 THEN
        RAISE EXCEPTION 'a claim is for 1 to 86400 seconds' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    held := susy.held_claim(extend_claim.claim_id, extend_claim.moderator);
    ends := clock_timestamp() + make_interval(secs => extend_claim.seconds);
    UPDATE susy.open_claims AS o SET claimed_until = ends WHERE o.claim_id = held.claim_id;
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, claimed_until, created_at)
    VALUES (held.claim_id, held.check_id, held.moderator, held.kind, 'extended', ends, clock_timestamp());
    RETURN ends;
END
$$;

CREATE FUNCTION dashboard.skip_claim(claim_id uuid, moderator text, reason text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims;
BEGIN
    IF btrim(coalesce(reason, '')) = '' THEN
        RAISE EXCEPTION 'skipping a check says why' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    held := susy.held_claim(skip_claim.claim_id, skip_claim.moderator);
    DELETE FROM susy.open_claims AS o WHERE o.claim_id = held.claim_id;
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, reason, created_at)
    VALUES (held.claim_id, held.check_id, held.moderator, held.kind, 'skipped', btrim(skip_claim.reason), clock_timestamp());
END
$$;

CREATE FUNCTION dashboard.release_claim(claim_id uuid, moderator text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims := susy.held_claim(release_claim.claim_id, release_claim.moderator);
BEGIN
    DELETE FROM susy.open_claims AS o WHERE o.claim_id = held.claim_id;
    INSERT INTO susy.review_claims (claim_id, check_id, moderator, kind, action, created_at)
    VALUES (held.claim_id, held.check_id, held.moderator, held.kind, 'released', clock_timestamp());
END
$$;

CREATE FUNCTION dashboard.claimed_map(claim_id uuid, moderator text)
RETURNS bytea LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held susy.open_claims := susy.held_claim(claimed_map.claim_id, claimed_map.moderator);
BEGIN
    RETURN (
        SELECT s.map_png FROM susy.verdicts AS v JOIN susy.scans AS s ON s.id = v.scan_id
        WHERE v.check_id = held.check_id AND v.mode = 'live'
    );
END
$$;

REVOKE ALL ON FUNCTION
    dashboard.record_review, dashboard.decide_claim, dashboard.undo_review, dashboard.claim_next_review,
    dashboard.extend_claim, dashboard.skip_claim, dashboard.release_claim, dashboard.claimed_map
FROM PUBLIC;
COMMENT ON FUNCTION dashboard.record_review IS 'Store what a person decided about a check that has ended, and end that person''s claim on it. Reviews are only added; the latest overrides the verdict. The id of the review.';
COMMENT ON FUNCTION dashboard.decide_claim IS 'Decide about a check that one has claimed; the id of the review. Refused when the claim has ended and the check was given to others.';
COMMENT ON FUNCTION dashboard.undo_review IS 'Let a review of one''s own not count any more; an earlier one counts again.';
COMMENT ON FUNCTION dashboard.claim_next_review IS 'Give a moderator the next check to review, for a time in seconds; no row when none waits. Nobody else gets it, nor the same image, before the claim ends.';
COMMENT ON FUNCTION dashboard.extend_claim IS 'Keep a claim for a time in seconds from now; when it ends then.';
COMMENT ON FUNCTION dashboard.skip_claim IS 'Give a check back without a decision, and say why; it is given to others.';
COMMENT ON FUNCTION dashboard.release_claim IS 'Give a check back without a decision.';
COMMENT ON FUNCTION dashboard.claimed_map IS 'The localization map of a check that one has claimed, as the bytes of a PNG file; null without one.';


COMMENT ON COLUMN susy.verdicts.reviewed_at IS 'When its check was reviewed; null while no review of it counts.';
COMMENT ON COLUMN susy.reviews.batch_id IS 'The bulk review that it is a part of; null for the review of one check.';

COMMENT ON TABLE susy.review_batches IS 'One decision about many checks, chosen by a filter. Never changed.';
COMMENT ON COLUMN susy.review_batches.id IS 'The bulk review.';
COMMENT ON COLUMN susy.review_batches.reviewer IS 'Who decided.';
COMMENT ON COLUMN susy.review_batches.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN susy.review_batches.note IS 'The reviewer''s note.';
COMMENT ON COLUMN susy.review_batches.filters IS 'What chose the checks, as an object.';
COMMENT ON COLUMN susy.review_batches.reviews IS 'How many checks were reviewed.';
COMMENT ON COLUMN susy.review_batches.created_at IS 'When.';

COMMENT ON TABLE susy.review_undos IS 'The undoing of a review or of a bulk review. Never changed.';
COMMENT ON COLUMN susy.review_undos.id IS 'The undo.';
COMMENT ON COLUMN susy.review_undos.target_id IS 'The review or the bulk review.';
COMMENT ON COLUMN susy.review_undos.undone_by IS 'Who undid it.';
COMMENT ON COLUMN susy.review_undos.reason IS 'Why.';
COMMENT ON COLUMN susy.review_undos.reviews IS 'How many reviews it undid.';
COMMENT ON COLUMN susy.review_undos.created_at IS 'When.';

COMMENT ON TABLE susy.undone_reviews IS 'A review that does not count any more. Never changed.';
COMMENT ON COLUMN susy.undone_reviews.review_id IS 'The review.';
COMMENT ON COLUMN susy.undone_reviews.check_id IS 'Its check.';
COMMENT ON COLUMN susy.undone_reviews.undo_id IS 'The undo.';

COMMENT ON TABLE susy.review_items IS 'The review queue: a check that waits for a person. Kept by triggers; what it copies is that of its check and live verdict.';
COMMENT ON COLUMN susy.review_items.check_id IS 'The check.';
COMMENT ON COLUMN susy.review_items.kind IS 'first, second (of another person) or third (where two disagree).';
COMMENT ON COLUMN susy.review_items.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN susy.review_items.lane IS 'live or backfill.';
COMMENT ON COLUMN susy.review_items.policy IS 'Name of the policy that decided; null without a verdict.';
COMMENT ON COLUMN susy.review_items.decision IS 'What it decided; null without a verdict.';
COMMENT ON COLUMN susy.review_items.generator IS 'The generator that it named.';
COMMENT ON COLUMN susy.review_items.score IS 'Probability that the image is synthetic, 0 to 1; null when no tile could be scored.';
COMMENT ON COLUMN susy.review_items.needs_review IS 'Whether the policy asks for a review.';
COMMENT ON COLUMN susy.review_items.content_sha256 IS 'SHA-256 of the image; null when it was not read.';
COMMENT ON COLUMN susy.review_items.score_band IS '0 for scores of 0.95 and above, to 10 for those below 0.05 and none; ascends in the order.';
COMMENT ON COLUMN susy.review_items.reach_rank IS 'Minus the attribute reach, if that is a positive number, else 0; ascends in the order.';
COMMENT ON COLUMN susy.review_items.waiting_since IS 'Since when it waits; ascends in the order.';

COMMENT ON TABLE susy.open_claims IS 'Who looks at which check at this moment.';
COMMENT ON COLUMN susy.open_claims.claim_id IS 'The claim.';
COMMENT ON COLUMN susy.open_claims.check_id IS 'The check.';
COMMENT ON COLUMN susy.open_claims.moderator IS 'Who holds it.';
COMMENT ON COLUMN susy.open_claims.kind IS 'first, second, third or golden.';
COMMENT ON COLUMN susy.open_claims.content_sha256 IS 'SHA-256 of the image, which nobody else is given meanwhile; null when it was not read.';
COMMENT ON COLUMN susy.open_claims.claimed_until IS 'When it expires unless it is extended.';

COMMENT ON TABLE susy.review_claims IS 'What happened to claims. Never changed.';
COMMENT ON COLUMN susy.review_claims.id IS 'Increases.';
COMMENT ON COLUMN susy.review_claims.claim_id IS 'The claim.';
COMMENT ON COLUMN susy.review_claims.check_id IS 'The check.';
COMMENT ON COLUMN susy.review_claims.moderator IS 'Who was given it.';
COMMENT ON COLUMN susy.review_claims.kind IS 'first, second, third or golden.';
COMMENT ON COLUMN susy.review_claims.action IS 'claimed, extended, decided, skipped, released, expired or withdrawn.';
COMMENT ON COLUMN susy.review_claims.claimed_until IS 'When it ends then; of claimed and extended.';
COMMENT ON COLUMN susy.review_claims.reason IS 'Why it was skipped.';
COMMENT ON COLUMN susy.review_claims.review_id IS 'The review, or the answer to a golden item; of decided.';
COMMENT ON COLUMN susy.review_claims.created_at IS 'When.';

COMMENT ON TABLE susy.golden_changes IS 'A check became a golden item, or is none any more; the latest change of a check applies. Never changed.';
COMMENT ON COLUMN susy.golden_changes.id IS 'Increases.';
COMMENT ON COLUMN susy.golden_changes.check_id IS 'The check.';
COMMENT ON COLUMN susy.golden_changes.decision IS 'What it is known to be; null when it is no golden item any more.';
COMMENT ON COLUMN susy.golden_changes.changed_by IS 'Who said so.';
COMMENT ON COLUMN susy.golden_changes.reason IS 'Why.';
COMMENT ON COLUMN susy.golden_changes.created_at IS 'When.';

COMMENT ON TABLE susy.golden_answers IS 'What a moderator answered to a golden item; decides nothing. Never changed.';
COMMENT ON COLUMN susy.golden_answers.id IS 'The answer; to its moderator, the id of a review.';
COMMENT ON COLUMN susy.golden_answers.check_id IS 'The check.';
COMMENT ON COLUMN susy.golden_answers.moderator IS 'Who answered.';
COMMENT ON COLUMN susy.golden_answers.decision IS 'authentic, synthetic or inconclusive; null in a row that undoes an answer.';
COMMENT ON COLUMN susy.golden_answers.expected IS 'What the check was known to be; null when it was no golden item any more.';
COMMENT ON COLUMN susy.golden_answers.note IS 'The moderator''s note, or why the answer was undone.';
COMMENT ON COLUMN susy.golden_answers.undoes IS 'The answer that this row undoes.';
COMMENT ON COLUMN susy.golden_answers.created_at IS 'When.';

COMMENT ON VIEW susy.counted_reviews IS 'Of each reviewed check the review that counts: the latest that was not undone.';
COMMENT ON COLUMN susy.counted_reviews.id IS 'The review.';
COMMENT ON COLUMN susy.counted_reviews.check_id IS 'The check.';
COMMENT ON COLUMN susy.counted_reviews.reviewer IS 'Who decided.';
COMMENT ON COLUMN susy.counted_reviews.decision IS 'authentic, synthetic or inconclusive.';
COMMENT ON COLUMN susy.counted_reviews.note IS 'The reviewer''s note.';
COMMENT ON COLUMN susy.counted_reviews.created_at IS 'When.';
COMMENT ON COLUMN susy.counted_reviews.content_sha256 IS 'SHA-256 of the image; null when it was not read.';
COMMENT ON COLUMN susy.counted_reviews.batch_id IS 'The bulk review that it is a part of.';

COMMENT ON VIEW susy.golden_items IS 'The checks whose answer is known.';
COMMENT ON COLUMN susy.golden_items.check_id IS 'The check.';
COMMENT ON COLUMN susy.golden_items.decision IS 'What it is known to be.';

COMMENT ON VIEW susy.double_reviews IS 'Checks that two people decided about, the second without seeing the first one''s decision.';
COMMENT ON COLUMN susy.double_reviews.check_id IS 'The check.';
COMMENT ON COLUMN susy.double_reviews.first_reviewer IS 'Who decided first.';
COMMENT ON COLUMN susy.double_reviews.first_decision IS 'What that person decided.';
COMMENT ON COLUMN susy.double_reviews.second_reviewer IS 'Who decided second.';
COMMENT ON COLUMN susy.double_reviews.second_decision IS 'What that person decided.';
COMMENT ON COLUMN susy.double_reviews.created_at IS 'When the second person decided.';

COMMENT ON FUNCTION susy.draws(text, double precision) IS 'Whether a word belongs to a share of all words: always the same answer.';
COMMENT ON FUNCTION susy.review_rate(text) IS 'The rate of second reviews or of golden items that applies.';
COMMENT ON FUNCTION susy.reach_of(jsonb) IS 'The attribute reach as a number, 0 to 1e12.';
COMMENT ON FUNCTION susy.refresh_review_items(uuid[]) IS 'Makes the review queue say what these checks need.';
COMMENT ON FUNCTION susy.refresh_after_verdicts() IS 'Trigger: brings the review queue up to date with verdicts.';
COMMENT ON FUNCTION susy.refresh_after_reviews() IS 'Trigger: brings the review queue up to date with reviews, undos and golden items.';
COMMENT ON FUNCTION susy.add_undo_event() IS 'Trigger: writes the event of a review that was undone.';
COMMENT ON FUNCTION susy.undo_reviews(uuid, text, text) IS 'Undoes a review, or what is left of a bulk review, by its id.';
COMMENT ON FUNCTION susy.expire_claims() IS 'Ends claims whose time is over.';
COMMENT ON FUNCTION susy.held_claim(uuid, text) IS 'A claim that its holder still has, locked; raises when it has ended.';
COMMENT ON FUNCTION susy.record_decision(uuid, text, text, text, uuid) IS 'Stores what a person decided, and ends that person''s claim.';
COMMENT ON FUNCTION susy.claim_conditions(jsonb) IS 'The filters of a claim as SQL conditions of fixed words; raises for one that does not exist.';
COMMENT ON FUNCTION susy.reviewer_agreement(timestamp with time zone, text) IS 'How far reviewers agree, in double reviews since a time, of a source; null for all.';

-- What waits already.
DO $$
BEGIN
    PERFORM susy.refresh_review_items(ARRAY(
        SELECT v.check_id FROM susy.verdicts AS v
        WHERE v.mode = 'live' AND (v.needs_review OR v.audit_rate IS NOT NULL) AND v.reviewed_at IS NULL
    ));
END
$$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_dashboard') THEN
        GRANT SELECT ON ALL TABLES IN SCHEMA dashboard TO susy_dashboard;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_moderator') THEN
        GRANT EXECUTE ON FUNCTION
            dashboard.record_review, dashboard.decide_claim, dashboard.undo_review, dashboard.claim_next_review,
            dashboard.extend_claim, dashboard.skip_claim, dashboard.release_claim, dashboard.claimed_map
        TO susy_moderator;
    END IF;
END
$$;
