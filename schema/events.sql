-- Triggers that write the events of checks, in the transaction in which they happen.

-- Every final state has a time of its end (ck_checks_finished_has_time), hence an event, whichever statement ends the
-- check. OLD.lease_token becomes the id of the verdict that the same transaction adds next.
CREATE FUNCTION susy.add_check_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO susy.events (
        check_id, source, type, state, attempts, finished_at, error_code, error_message, verdict_id
    ) VALUES (
        NEW.id, NEW.source,
        CASE NEW.state WHEN 'done' THEN 'image.verdict.created' ELSE 'image.check.' || NEW.state END,
        NEW.state, NEW.attempts, NEW.finished_at, NEW.error_code, NEW.error_message,
        CASE NEW.state WHEN 'done' THEN OLD.lease_token END
    );
    RETURN NULL;
END
$$;

CREATE TRIGGER checks_add_event AFTER UPDATE OF state ON susy.checks
FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL AND NEW.state <> OLD.state)
EXECUTE FUNCTION susy.add_check_event();

-- A review of a check that has not ended becomes a part of the event of its end.
CREATE FUNCTION susy.add_review_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO susy.events (
        check_id, source, type, state, attempts, finished_at, error_code, error_message, review_id
    )
    SELECT
        id, source, 'image.review.created', state, attempts, finished_at, error_code, error_message, NEW.id
    FROM susy.checks WHERE id = NEW.check_id AND finished_at IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER reviews_add_event AFTER INSERT ON susy.reviews
FOR EACH ROW EXECUTE FUNCTION susy.add_review_event();
