-- Contents about which a person has overridden a policy. A row outlives its check, and is not written twice.
CREATE TABLE susy.cases (
    content_sha256 text NOT NULL,
    check_id uuid NOT NULL,
    source text NOT NULL,
    external_id text NOT NULL,
    uri text NOT NULL,
    policy_name text NOT NULL,
    expected text NOT NULL,
    overridden text NOT NULL,
    added_by text NOT NULL,
    added_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_cases PRIMARY KEY (content_sha256),
    CONSTRAINT ck_cases_content_sha256 CHECK (content_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_cases_expected CHECK (expected IN ('authentic', 'synthetic')),
    CONSTRAINT ck_cases_overridden CHECK (overridden IN ('authentic', 'synthetic', 'inconclusive')),
    CONSTRAINT ck_cases_added_by CHECK (added_by <> '')
);

COMMENT ON TABLE susy.cases IS 'The regression set: contents about which a person said the opposite of a policy, and others that were added.';
COMMENT ON COLUMN susy.cases.content_sha256 IS 'SHA-256 of the encoded image, 64 hexadecimal digits.';
COMMENT ON COLUMN susy.cases.check_id IS 'The check whose verdict was overridden last; it may be pruned.';
COMMENT ON COLUMN susy.cases.source IS 'The source of that check.';
COMMENT ON COLUMN susy.cases.external_id IS 'The platform''s own id of the upload.';
COMMENT ON COLUMN susy.cases.uri IS 'Location of the image at submission.';
COMMENT ON COLUMN susy.cases.policy_name IS 'Name of the policy whose verdict was overridden.';
COMMENT ON COLUMN susy.cases.expected IS 'What the person said: authentic or synthetic. While the check is there, the review of it that counts comes before this.';
COMMENT ON COLUMN susy.cases.overridden IS 'The decision of the policy then.';
COMMENT ON COLUMN susy.cases.added_by IS 'The reviewer, or who added it.';
COMMENT ON COLUMN susy.cases.added_at IS 'When it became a case, or was overridden again.';

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
COMMENT ON FUNCTION susy.add_case() IS 'Trigger: makes a case of a check whose verdict a review contradicts.';

CREATE TRIGGER reviews_add_case AFTER INSERT ON susy.reviews FOR EACH ROW EXECUTE FUNCTION susy.add_case();

-- What was overridden before.
INSERT INTO susy.cases (
    content_sha256, check_id, source, external_id, uri, policy_name, expected, overridden, added_by, added_at
)
SELECT DISTINCT ON (c.content_sha256)
    c.content_sha256, c.id, c.source, c.external_id, c.uri, v.policy_name, r.decision, v.decision, r.reviewer,
    r.created_at
FROM susy.reviews AS r
JOIN susy.checks AS c ON c.id = r.check_id
JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live'
WHERE (v.decision, r.decision) IN (('authentic', 'synthetic'), ('synthetic', 'authentic'))
ORDER BY c.content_sha256, r.created_at DESC, r.id DESC;
