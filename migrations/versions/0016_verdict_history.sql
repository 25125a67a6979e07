-- A check keeps the verdicts that later ones replaced. NULLS NOT DISTINCT: of those that have not been replaced, each
-- policy version has one.
ALTER TABLE susy.verdicts
    DROP CONSTRAINT uq_verdicts_check_id_policy_name_policy_version,
    DROP CONSTRAINT ck_verdicts_mode,
    ADD COLUMN superseded_at timestamp with time zone,
    ADD COLUMN application_id bigint,
    ADD CONSTRAINT uq_verdicts_check_id_policy_name_policy_version_superseded_at
        UNIQUE NULLS NOT DISTINCT (check_id, policy_name, policy_version, superseded_at),
    ADD CONSTRAINT ck_verdicts_mode CHECK (mode IN ('live', 'shadow', 'superseded')),
    ADD CONSTRAINT ck_verdicts_superseded_has_time CHECK ((mode = 'superseded') = (superseded_at IS NOT NULL));

CREATE TABLE susy.policy_applications (
    id bigint GENERATED ALWAYS AS IDENTITY,
    policy_name text NOT NULL,
    policy_version text NOT NULL,
    filter jsonb NOT NULL,
    applied_by text NOT NULL,
    reason text,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    replaced bigint DEFAULT 0 NOT NULL,
    changed bigint DEFAULT 0 NOT NULL,
    CONSTRAINT pk_policy_applications PRIMARY KEY (id),
    CONSTRAINT fk_policy_applications_policy_name_policy_version
        FOREIGN KEY (policy_name, policy_version) REFERENCES susy.policies (name, version),
    CONSTRAINT ck_policy_applications_filter CHECK (jsonb_typeof(filter) = 'object'),
    CONSTRAINT ck_policy_applications_explained CHECK (applied_by <> '' AND reason <> ''),
    CONSTRAINT ck_policy_applications_counts CHECK (changed BETWEEN 0 AND replaced)
);

ALTER TABLE susy.verdicts ADD CONSTRAINT fk_verdicts_application_id
    FOREIGN KEY (application_id) REFERENCES susy.policy_applications (id);

-- The verdict that an event of a changed decision replaces.
ALTER TABLE susy.events ADD COLUMN previous_verdict_id uuid;

-- What was measured of the file and the pixels beside the tiles; null in scans from before.
ALTER TABLE susy.scans
    ADD COLUMN signals jsonb,
    ADD CONSTRAINT ck_scans_signals CHECK (jsonb_typeof(signals) = 'object');

CREATE VIEW dashboard.policy_applications AS
SELECT
    id, policy_name AS policy, policy_version, filter, applied_by, reason, started_at, updated_at, finished_at, replaced,
    changed
FROM susy.policy_applications;

COMMENT ON VIEW dashboard.policy_applications IS 'Every time a policy was applied to checks that were decided before (`susy policy apply`).';
COMMENT ON COLUMN dashboard.policy_applications.id IS 'Number of the application.';
COMMENT ON COLUMN dashboard.policy_applications.policy IS 'Name of the policy that was applied.';
COMMENT ON COLUMN dashboard.policy_applications.policy_version IS 'Its version.';
COMMENT ON COLUMN dashboard.policy_applications.filter IS 'Which checks: since, source, decided_by and whether reviewed ones were included.';
COMMENT ON COLUMN dashboard.policy_applications.applied_by IS 'Who applied it.';
COMMENT ON COLUMN dashboard.policy_applications.reason IS 'Why; null when no reason was given.';
COMMENT ON COLUMN dashboard.policy_applications.started_at IS 'When it began.';
COMMENT ON COLUMN dashboard.policy_applications.updated_at IS 'When its latest batch was written.';
COMMENT ON COLUMN dashboard.policy_applications.finished_at IS 'When it ended; null while it runs, or when it was interrupted.';
COMMENT ON COLUMN dashboard.policy_applications.replaced IS 'Verdicts that it replaced, as a number of checks.';
COMMENT ON COLUMN dashboard.policy_applications.changed IS 'Those among them whose decision changed, each with an event.';

COMMENT ON COLUMN dashboard.callbacks.type IS 'What happened: image.verdict.created, image.verdict.changed, image.check.quarantined, image.check.cancelled, image.check.expired or image.review.created.';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_dashboard') THEN
        GRANT SELECT ON ALL TABLES IN SCHEMA dashboard TO susy_dashboard;
    END IF;
END
$$;
