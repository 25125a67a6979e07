-- Takes back what 0001 made. The schema `susy` itself goes with Alembic's version table, after this.

DROP VIEW
    dashboard.checks,
    dashboard.review_queue,
    dashboard.maps,
    dashboard.quarantine,
    dashboard.backlog,
    dashboard.reviews,
    dashboard.rejected_messages;

DROP TABLE susy.rejected_messages, susy.reviews, susy.verdicts, susy.policies, susy.scans, susy.checks;
DROP FUNCTION susy.refuse_change, susy.mark_reviewed;

DO $$
BEGIN
    DROP SCHEMA dashboard;
EXCEPTION
    WHEN dependent_objects_still_exist THEN
        RAISE NOTICE 'schema dashboard holds more than susy-worker''s views and stays';
END
$$;

-- The role goes only when nobody is its member and no other database grants it anything.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_auth_members AS m
        JOIN pg_roles AS granted ON granted.oid = m.roleid
        JOIN pg_roles AS member ON member.oid = m.member
        WHERE granted.rolname = 'susy_dashboard' AND member.rolname <> current_user
    ) THEN
        DROP ROLE IF EXISTS susy_dashboard;
    END IF;
EXCEPTION
    WHEN dependent_objects_still_exist OR insufficient_privilege THEN
        RAISE NOTICE 'role susy_dashboard is used elsewhere, or may not be dropped, and stays';
END
$$;
