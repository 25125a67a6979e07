-- Entries that exist keep null: under which login they were made is their actor.
ALTER TABLE susy.operations ADD COLUMN login text;
ALTER TABLE susy.operations
    ALTER COLUMN login SET DEFAULT SESSION_USER,
    ALTER COLUMN actor SET DEFAULT COALESCE(NULLIF(current_setting('susy.actor', true), ''), SESSION_USER);
COMMENT ON COLUMN susy.operations.actor IS 'Who did it, as the command or the service says; the database''s login where none is named.';
COMMENT ON COLUMN susy.operations.login IS 'The database''s login under which it was done; null before migration 0031.';

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
SELECT
    at, kind, actor, action, subject, reason,
    CASE WHEN login <> actor THEN details || jsonb_build_object('login', login) ELSE details END
FROM susy.operations;
COMMENT ON COLUMN dashboard.audit_log.actor IS 'Who: the name that was given with --by, or the user of the machine; an API key by its name; where none is named, the database''s login. Names are what a command or a service says; details has the login where it differs.';
