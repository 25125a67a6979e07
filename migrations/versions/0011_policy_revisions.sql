CREATE TABLE susy.policy_revisions (
    revision integer NOT NULL,
    configuration jsonb NOT NULL,
    change text NOT NULL,
    changed_by text NOT NULL,
    reason text NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_policy_revisions PRIMARY KEY (revision),
    CONSTRAINT ck_policy_revisions_revision CHECK (revision > 0),
    CONSTRAINT ck_policy_revisions_configuration CHECK (jsonb_typeof(configuration) = 'object'),
    CONSTRAINT ck_policy_revisions_explained CHECK (change <> '' AND changed_by <> '' AND reason <> '')
);

CREATE TRIGGER policy_revisions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.policy_revisions
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

-- Finds the verdicts of shadows, by time.
CREATE INDEX ix_verdicts_shadow ON susy.verdicts (policy_name, policy_version, created_at) WHERE mode = 'shadow';

CREATE VIEW dashboard.policies AS
SELECT
    p.name,
    p.version,
    p.document,
    p.created_at,
    coalesce(now.configuration -> 'active' ->> p.name = p.version, false) AS is_active,
    coalesce((
        SELECT coalesce((shadow ->> 'sample')::double precision, 1)
        FROM jsonb_array_elements(now.configuration -> 'shadows') AS shadow
        WHERE shadow ->> 'name' = p.name AND shadow ->> 'version' = p.version
    ), 0) AS shadow_sample
FROM susy.policies AS p
LEFT JOIN LATERAL (
    SELECT configuration FROM susy.policy_revisions ORDER BY revision DESC LIMIT 1
) AS now ON true;

COMMENT ON VIEW dashboard.policies IS 'Every version of every policy that has been stored or has decided.';
COMMENT ON COLUMN dashboard.policies.name IS 'Name of the policy.';
COMMENT ON COLUMN dashboard.policies.version IS 'Its version, derived from its content.';
COMMENT ON COLUMN dashboard.policies.document IS 'The whole policy, every key written out.';
COMMENT ON COLUMN dashboard.policies.created_at IS 'When it was stored.';
COMMENT ON COLUMN dashboard.policies.is_active IS 'Whether it is the active version of its name. Workers with policy files of their own may decide by others.';
COMMENT ON COLUMN dashboard.policies.shadow_sample IS 'Share of the contents that it decides about in shadow, 0 to 1.';

CREATE VIEW dashboard.policy_history AS
SELECT revision, change, changed_by, reason, changed_at, configuration FROM susy.policy_revisions;

COMMENT ON VIEW dashboard.policy_history IS 'Every change of what decides: activations, routes, shadows. Rows are only added.';
COMMENT ON COLUMN dashboard.policy_history.revision IS 'Number of the configuration that the change led to; the highest applies.';
COMMENT ON COLUMN dashboard.policy_history.change IS 'What was changed.';
COMMENT ON COLUMN dashboard.policy_history.changed_by IS 'Who changed it.';
COMMENT ON COLUMN dashboard.policy_history.reason IS 'Why.';
COMMENT ON COLUMN dashboard.policy_history.changed_at IS 'When.';
COMMENT ON COLUMN dashboard.policy_history.configuration IS 'The active versions, the routes in their order, the default policy and the shadows.';

CREATE VIEW dashboard.shadow_differences AS
SELECT
    c.id,
    c.source,
    c.created_at,
    s.created_at AS decided_at,
    s.policy_name AS shadow_policy,
    s.policy_version AS shadow_version,
    s.decision AS shadow_decision,
    s.score AS shadow_score,
    l.policy_name AS policy,
    l.policy_version,
    l.decision,
    l.score,
    l.generator
FROM susy.verdicts AS s
JOIN susy.verdicts AS l ON l.check_id = s.check_id AND l.mode = 'live'
JOIN susy.checks AS c ON c.id = s.check_id
WHERE s.mode = 'shadow' AND s.decision <> l.decision;

COMMENT ON VIEW dashboard.shadow_differences IS 'Checks about which a policy in shadow decides otherwise than the live one.';
COMMENT ON COLUMN dashboard.shadow_differences.id IS 'The check.';
COMMENT ON COLUMN dashboard.shadow_differences.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.shadow_differences.created_at IS 'When the check was accepted.';
COMMENT ON COLUMN dashboard.shadow_differences.decided_at IS 'When the shadow verdict was recorded.';
COMMENT ON COLUMN dashboard.shadow_differences.shadow_policy IS 'Name of the policy that runs in shadow.';
COMMENT ON COLUMN dashboard.shadow_differences.shadow_version IS 'Its version.';
COMMENT ON COLUMN dashboard.shadow_differences.shadow_decision IS 'What it would decide: authentic, synthetic or inconclusive.';
COMMENT ON COLUMN dashboard.shadow_differences.shadow_score IS 'The score under its aggregation, 0 to 1.';
COMMENT ON COLUMN dashboard.shadow_differences.policy IS 'Name of the policy that decided.';
COMMENT ON COLUMN dashboard.shadow_differences.policy_version IS 'Its version.';
COMMENT ON COLUMN dashboard.shadow_differences.decision IS 'What it decided.';
COMMENT ON COLUMN dashboard.shadow_differences.score IS 'The score under its aggregation, 0 to 1.';
COMMENT ON COLUMN dashboard.shadow_differences.generator IS 'The generator that it named.';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_dashboard') THEN
        GRANT USAGE ON SCHEMA dashboard TO susy_dashboard;
        GRANT SELECT ON ALL TABLES IN SCHEMA dashboard TO susy_dashboard;
    END IF;
END
$$;
