-- The role that dashboards' users are members of: `GRANT susy_dashboard TO metabase`. Roles belong to the whole cluster:
-- it may exist already, another database's migration may be creating it, or this user may lack the privilege.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_dashboard') THEN
        CREATE ROLE susy_dashboard NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'may not create the role susy_dashboard; create it and grant it USAGE and SELECT on schema dashboard';
END
$$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'susy_dashboard') THEN
        GRANT USAGE ON SCHEMA dashboard TO susy_dashboard;
        GRANT SELECT ON ALL TABLES IN SCHEMA dashboard TO susy_dashboard;
    END IF;
END
$$;
