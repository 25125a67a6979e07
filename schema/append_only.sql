-- Tables whose rows are only added.

CREATE FUNCTION susy.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- `susy prune` deletes what belongs to old checks, and says so in `operations`.
    IF TG_OP = 'DELETE' AND current_setting('susy.pruning', true) = 'on'
        AND TG_TABLE_NAME NOT IN ('operations', 'policies', 'policy_revisions')
    THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'susy.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER operations_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.operations
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

CREATE TRIGGER policies_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.policies
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

CREATE TRIGGER policy_revisions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.policy_revisions
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

CREATE TRIGGER reviews_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON susy.reviews
FOR EACH STATEMENT EXECUTE FUNCTION susy.refuse_change();

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
