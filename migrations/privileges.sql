-- What each role may do with which table. `susy db upgrade` runs this after the migrations, every time, so that it also
-- holds for tables that are new and for roles that an administrator created later. A test compares it with the tables.
--
-- susy_dashboard   reads the views of `dashboard`
-- susy_moderator   calls the functions of `dashboard`, by which moderators' tools record what people decide
-- susy_submit      submits checks, and reads what became of them
-- susy_worker      `susy worker` and `susy reconciler`: no keys, no secrets, no policies but those that decide
-- susy_serve       `susy serve`: submits, cancels, does what moderators and supervisors do; checks API keys, creates none
-- susy_deliver     `susy deliver`: alone reads the secrets of endpoints
-- susy_migrate     owns the schemas: `susy db upgrade` and operators' commands

DO $$
DECLARE
    missing text[] := '{}';
    role text;
BEGIN
    -- Roles belong to the whole cluster: another database's migration may be creating them, or this user may not.
    FOREACH role IN ARRAY ARRAY[
        'susy_dashboard', 'susy_moderator', 'susy_submit', 'susy_worker', 'susy_serve', 'susy_deliver', 'susy_migrate'
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL;
                WHEN insufficient_privilege THEN
                    missing := missing || role;
            END;
        END IF;
    END LOOP;
    IF missing <> '{}' THEN
        RAISE NOTICE 'may not create the roles %; an administrator creates them (docs/database.md), then run `susy db upgrade` again', array_to_string(missing, ', ');
    END IF;
END
$$;

DO $$
DECLARE
    role text;
    item record;
BEGIN
    FOR role IN SELECT rolname FROM pg_roles WHERE rolname IN (
        'susy_dashboard', 'susy_moderator', 'susy_submit', 'susy_worker', 'susy_serve', 'susy_deliver'
    ) LOOP
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA susy FROM %I', role);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA susy FROM %I', role);
        IF role <> 'susy_dashboard' AND role <> 'susy_moderator' THEN
            EXECUTE format('GRANT USAGE ON SCHEMA susy TO %I', role);
        END IF;
        IF role IN ('susy_dashboard', 'susy_moderator') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA dashboard TO %I', role);
        END IF;
        IF role = 'susy_dashboard' THEN
            EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA dashboard TO %I', role);
        END IF;
        IF role = 'susy_moderator' THEN
            EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dashboard TO %I', role);
        END IF;
    END LOOP;
    FOR item IN
        SELECT granted.* FROM (VALUES
            ('susy_submit', 'alembic_version', 'SELECT'),
            ('susy_submit', 'checks', 'SELECT, INSERT, UPDATE (dispatched_at)'),
            ('susy_submit', 'paused_lanes', 'SELECT'),
            ('susy_submit', 'verdicts', 'SELECT'),
            ('susy_submit', 'scans', 'SELECT'),
            ('susy_submit', 'endpoints', 'SELECT (id, name, sources)'),
            ('susy_submit', 'policies', 'SELECT'),
            ('susy_submit', 'policy_revisions', 'SELECT'),
            ('susy_submit', 'object_sequencers', 'SELECT, INSERT, UPDATE'),
            ('susy_submit', 'sweeps', 'SELECT, INSERT, UPDATE'),

            ('susy_worker', 'alembic_version', 'SELECT'),
            ('susy_worker', 'checks', 'SELECT, INSERT, UPDATE'),
            ('susy_worker', 'paused_lanes', 'SELECT'),
            ('susy_worker', 'scans', 'SELECT, INSERT, UPDATE'),
            ('susy_worker', 'verdicts', 'SELECT, INSERT, UPDATE'),
            ('susy_worker', 'policies', 'SELECT, INSERT'),
            ('susy_worker', 'policy_revisions', 'SELECT'),
            ('susy_worker', 'reviews', 'SELECT'),
            ('susy_worker', 'undone_reviews', 'SELECT'),
            ('susy_worker', 'review_undos', 'SELECT'),
            ('susy_worker', 'rejected_messages', 'SELECT, INSERT'),
            ('susy_worker', 'events', 'SELECT, INSERT, UPDATE'),
            ('susy_worker', 'event_positions', 'USAGE'),
            ('susy_worker', 'deliveries', 'SELECT, INSERT, UPDATE'),
            ('susy_worker', 'endpoints', 'SELECT (id, name, sources)'),
            ('susy_worker', 'decision_counts', 'SELECT, INSERT, UPDATE'),
            ('susy_worker', 'decision_changes', 'SELECT, UPDATE, DELETE'),
            ('susy_worker', 'object_sequencers', 'SELECT, UPDATE, DELETE'),

            ('susy_serve', 'alembic_version', 'SELECT'),
            ('susy_serve', 'checks', 'SELECT, INSERT, UPDATE'),
            ('susy_serve', 'paused_lanes', 'SELECT'),
            ('susy_serve', 'scans', 'SELECT'),
            ('susy_serve', 'verdicts', 'SELECT'),
            ('susy_serve', 'reviews', 'SELECT'),
            ('susy_serve', 'undone_reviews', 'SELECT'),
            ('susy_serve', 'review_undos', 'SELECT'),
            ('susy_serve', 'policies', 'SELECT'),
            ('susy_serve', 'policy_revisions', 'SELECT'),
            ('susy_serve', 'rejected_messages', 'SELECT'),
            ('susy_serve', 'events', 'SELECT, INSERT, UPDATE'),
            ('susy_serve', 'event_positions', 'USAGE'),
            ('susy_serve', 'deliveries', 'SELECT, INSERT, UPDATE'),
            ('susy_serve', 'endpoints', 'SELECT (id, name, sources)'),
            ('susy_serve', 'api_keys', 'SELECT, UPDATE (last_used_at)'),
            ('susy_serve', 'operations', 'INSERT'),
            ('susy_serve', 'object_sequencers', 'SELECT, INSERT, UPDATE, DELETE'),
            ('susy_serve', 'sweeps', 'SELECT, INSERT, UPDATE'),

            ('susy_deliver', 'alembic_version', 'SELECT'),
            ('susy_deliver', 'checks', 'SELECT'),
            ('susy_deliver', 'scans', 'SELECT'),
            ('susy_deliver', 'verdicts', 'SELECT'),
            ('susy_deliver', 'reviews', 'SELECT'),
            ('susy_deliver', 'undone_reviews', 'SELECT'),
            ('susy_deliver', 'review_undos', 'SELECT'),
            ('susy_deliver', 'paused_lanes', 'SELECT'),
            ('susy_deliver', 'policies', 'SELECT'),
            ('susy_deliver', 'policy_revisions', 'SELECT'),
            ('susy_deliver', 'events', 'SELECT, UPDATE'),
            ('susy_deliver', 'event_positions', 'USAGE'),
            ('susy_deliver', 'deliveries', 'SELECT, INSERT, UPDATE, DELETE'),
            ('susy_deliver', 'endpoints', 'SELECT, UPDATE'),
            ('susy_deliver', 'endpoint_keys', 'SELECT')
            -- Only the owner, and functions with its rights: policy_applications, cases, review_batches,
            -- review_items, open_claims, review_claims, golden_changes, golden_answers.
        ) AS granted (role, name, privileges)
        JOIN pg_roles ON rolname = granted.role
    LOOP
        EXECUTE format('GRANT %s ON susy.%I TO %I', item.privileges, item.name, item.role);
    END LOOP;
    -- What moderators and supervisors do are functions with the rights of their owner.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_serve') THEN
        GRANT USAGE ON SCHEMA dashboard TO susy_serve;
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dashboard TO susy_serve;
        GRANT SELECT ON dashboard.reviews, dashboard.reviewer_accuracy TO susy_serve;
        GRANT EXECUTE ON FUNCTION
            susy.claim_review, susy.held_claim, susy.record_decision, susy.reviewed_sources, susy.undo_reviews,
            susy.count_for_review, susy.review_in_bulk, susy.reviewer_agreement, susy.list_review_queue,
            susy.count_review_queue
        TO susy_serve;
    END IF;
    -- Called by a view, under the rights of who reads it.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_dashboard') THEN
        GRANT EXECUTE ON FUNCTION susy.reviewer_agreement TO susy_dashboard;
    END IF;
END
$$;
