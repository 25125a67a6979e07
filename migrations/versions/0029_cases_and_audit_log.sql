CREATE INDEX ix_cases_check_id ON susy.cases (check_id);
CREATE INDEX ix_reviews_single ON susy.reviews (created_at) WHERE batch_id IS NULL;

CREATE VIEW dashboard.cases AS
SELECT
    k.content_sha256,
    k.check_id,
    k.source,
    k.external_id,
    k.uri,
    k.policy_name AS policy,
    CASE WHEN c.id IS NULL THEN k.expected ELSE r.decision END AS expected,
    k.overridden,
    v.decision,
    v.policy_version,
    CASE
        WHEN c.id IS NOT NULL AND r.decision IS DISTINCT FROM 'authentic' AND r.decision IS DISTINCT FROM 'synthetic'
            THEN 'withdrawn'
        WHEN v.id IS NULL THEN 'unknown'
        WHEN v.decision = 'inconclusive' THEN 'inconclusive'
        WHEN v.decision = r.decision THEN 'right'
        ELSE 'wrong'
    END AS standing,
    k.added_by,
    k.added_at
FROM susy.cases AS k
LEFT JOIN susy.checks AS c ON c.id = k.check_id
LEFT JOIN susy.counted_reviews AS r ON r.check_id = c.id
LEFT JOIN susy.verdicts AS v ON v.check_id = c.id AND v.mode = 'live';

COMMENT ON VIEW dashboard.cases IS 'The regression set: images about which people overrode a policy, and others that were added (`susy cases`). One row per content.';
COMMENT ON COLUMN dashboard.cases.content_sha256 IS 'SHA-256 of the encoded image, 64 hexadecimal digits.';
COMMENT ON COLUMN dashboard.cases.check_id IS 'The check whose verdict was overridden last; it may be pruned.';
COMMENT ON COLUMN dashboard.cases.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.cases.external_id IS 'The platform''s own id of the upload.';
COMMENT ON COLUMN dashboard.cases.uri IS 'Location of the image at submission.';
COMMENT ON COLUMN dashboard.cases.policy IS 'Name of the policy whose verdict was overridden.';
COMMENT ON COLUMN dashboard.cases.expected IS 'What people say that it is: the decision of the review that counts, or, once its check was pruned, of the one that made the case. Null when no review of the check counts any more.';
COMMENT ON COLUMN dashboard.cases.overridden IS 'What the policy had decided when it became a case.';
COMMENT ON COLUMN dashboard.cases.decision IS 'The live verdict of the check; null once it was pruned.';
COMMENT ON COLUMN dashboard.cases.policy_version IS 'The version of the policy that the live verdict is by.';
COMMENT ON COLUMN dashboard.cases.standing IS 'The live verdict against what is expected: right, wrong or inconclusive; unknown once the check was pruned; withdrawn when the review says inconclusive or does not count any more.';
COMMENT ON COLUMN dashboard.cases.added_by IS 'The reviewer, or who added it.';
COMMENT ON COLUMN dashboard.cases.added_at IS 'When it became a case, or was overridden again.';

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
(
    -- Postgres merges the branches by time and reads each only as far as it is asked; where there is a condition, it
    -- needs to be told the order.
    SELECT created_at, 'review', reviewer, decision, check_id::text, note, jsonb_build_object('id', id)
    FROM susy.reviews WHERE batch_id IS NULL ORDER BY created_at DESC
)
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

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_dashboard') THEN
        GRANT SELECT ON ALL TABLES IN SCHEMA dashboard TO susy_dashboard;
    END IF;
END
$$;
