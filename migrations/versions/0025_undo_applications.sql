ALTER TABLE susy.policy_applications
    ADD COLUMN undoes bigint,
    ADD CONSTRAINT fk_policy_applications_undoes FOREIGN KEY (undoes) REFERENCES susy.policy_applications (id);

ALTER TABLE susy.verdicts ADD COLUMN restores uuid;
CREATE INDEX ix_verdicts_application ON susy.verdicts (application_id, id) WHERE application_id IS NOT NULL;

COMMENT ON TABLE susy.policy_applications IS 'One time a policy was applied to checks that were decided before, or such an application was undone.';
COMMENT ON COLUMN susy.policy_applications.policy_name IS 'Name of the policy that was applied, or whose application was undone.';
COMMENT ON COLUMN susy.policy_applications.undoes IS 'The earlier application that it undoes; null where it applies a policy.';
COMMENT ON COLUMN susy.verdicts.restores IS 'The verdict of which it is a copy, because what replaced that one was undone; otherwise null.';

CREATE OR REPLACE VIEW dashboard.verdicts AS
SELECT
    v.id,
    v.check_id,
    c.source,
    v.mode,
    v.created_at AS decided_at,
    v.decision,
    v.score,
    v.class_scores,
    v.generator,
    v.generator_confidence,
    v.reasons,
    v.needs_review,
    v.regions,
    v.policy_name AS policy,
    v.policy_version,
    s.model_name AS model,
    s.weights_sha256 AS model_sha256,
    s.is_demo,
    v.audit_rate,
    v.superseded_at,
    v.application_id AS application,
    v.restores
FROM susy.verdicts AS v
JOIN susy.checks AS c ON c.id = v.check_id
JOIN susy.scans AS s ON s.id = v.scan_id;

CREATE OR REPLACE VIEW dashboard.policy_applications AS
SELECT
    id, policy_name AS policy, policy_version, filter, applied_by, reason, started_at, updated_at, finished_at, replaced,
    changed, undoes
FROM susy.policy_applications;

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
    started_at, 'policy', applied_by,
    CASE
        WHEN undoes IS NULL THEN 'apply ' || policy_name || '@' || policy_version
        ELSE 'undo application ' || undoes
    END,
    'application ' || id, reason,
    jsonb_build_object('filter', filter, 'replaced', replaced, 'changed', changed, 'undoes', undoes)
FROM susy.policy_applications
UNION ALL
SELECT at, kind, actor, action, subject, reason, details FROM susy.operations;

COMMENT ON VIEW dashboard.policy_applications IS 'Every time a policy was applied to checks that were decided before (`susy policy apply`), or that was undone (`susy policy undo`).';
COMMENT ON COLUMN dashboard.policy_applications.policy IS 'Name of the policy that was applied, or whose application was undone.';
COMMENT ON COLUMN dashboard.policy_applications.undoes IS 'The application that it undoes; null where it applies a policy.';
COMMENT ON COLUMN dashboard.verdicts.application IS 'The `susy policy apply` or `undo` that recorded it, as dashboard.policy_applications.id; null for a verdict of a worker.';
COMMENT ON COLUMN dashboard.verdicts.restores IS 'The verdict of which it is a copy, because what replaced that one was undone (`susy policy undo`); otherwise null.';
