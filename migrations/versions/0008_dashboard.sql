CREATE VIEW dashboard.endpoints AS
SELECT
    e.name,
    split_part(e.url, '?', 1) AS url,
    e.sources,
    e.allow_private,
    e.created_at,
    e.disabled_at,
    e.disabled_reason,
    e.failures,
    e.open_until,
    keys.signatures,
    waiting.pending,
    waiting.oldest_pending_at,
    (SELECT count(*) FROM susy.deliveries AS d WHERE d.endpoint_id = e.id AND d.state = 'failed') AS failed
FROM susy.endpoints AS e
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(DISTINCT k.kind ORDER BY k.kind), '{}') AS signatures
    FROM susy.endpoint_keys AS k
    WHERE k.endpoint_id = e.id AND (k.expires_at IS NULL OR k.expires_at > now())
) AS keys
CROSS JOIN LATERAL (
    SELECT count(*) AS pending, min(d.created_at) AS oldest_pending_at
    FROM susy.deliveries AS d WHERE d.endpoint_id = e.id AND d.state = 'pending'
) AS waiting;

COMMENT ON VIEW dashboard.endpoints IS 'Where callbacks are sent, and how each endpoint fares.';
COMMENT ON COLUMN dashboard.endpoints.name IS 'The name that `susy endpoint add` gave it.';
COMMENT ON COLUMN dashboard.endpoints.url IS 'Where callbacks are sent, without the query of the URL, which may be secret.';
COMMENT ON COLUMN dashboard.endpoints.sources IS 'The sources whose checks are sent here; empty when submissions name the endpoint.';
COMMENT ON COLUMN dashboard.endpoints.allow_private IS 'Whether it may be on a private network, and without TLS.';
COMMENT ON COLUMN dashboard.endpoints.created_at IS 'When it was added.';
COMMENT ON COLUMN dashboard.endpoints.disabled_at IS 'When it was disabled; null while callbacks are sent to it.';
COMMENT ON COLUMN dashboard.endpoints.disabled_reason IS 'Why it was disabled.';
COMMENT ON COLUMN dashboard.endpoints.failures IS 'How many of the latest attempts failed in sequence; 0 after a success.';
COMMENT ON COLUMN dashboard.endpoints.open_until IS 'Until when nothing is sent because of these failures; null after a success.';
COMMENT ON COLUMN dashboard.endpoints.signatures IS 'The kinds of its keys: hmac, ed25519.';
COMMENT ON COLUMN dashboard.endpoints.pending IS 'How many callbacks wait or are being sent.';
COMMENT ON COLUMN dashboard.endpoints.oldest_pending_at IS 'When the event that has waited longest was written; null without.';
COMMENT ON COLUMN dashboard.endpoints.failed IS 'How many callbacks have used up their attempts, for an operator to retry.';

CREATE VIEW dashboard.callbacks AS
SELECT
    'evt_' || replace(d.check_id::text, '-', '') || '_' || d.event_id AS id,
    e.name AS endpoint,
    d.check_id,
    c.source,
    c.external_id,
    v.type,
    d.state,
    d.attempts,
    d.created_at,
    d.next_attempt_at,
    d.attempted_at,
    d.finished_at,
    d.status,
    d.error_code,
    d.error_message
FROM susy.deliveries AS d
JOIN susy.endpoints AS e ON e.id = d.endpoint_id
JOIN susy.events AS v ON v.id = d.event_id
JOIN susy.checks AS c ON c.id = d.check_id;

COMMENT ON VIEW dashboard.callbacks IS 'One row per event and endpoint it is sent to.';
COMMENT ON COLUMN dashboard.callbacks.id IS 'The header webhook-id, the same in every attempt.';
COMMENT ON COLUMN dashboard.callbacks.endpoint IS 'Name of the endpoint.';
COMMENT ON COLUMN dashboard.callbacks.check_id IS 'The check.';
COMMENT ON COLUMN dashboard.callbacks.source IS 'The surface or service that submitted it.';
COMMENT ON COLUMN dashboard.callbacks.external_id IS 'The platform''s own id of the upload.';
COMMENT ON COLUMN dashboard.callbacks.type IS 'What happened: image.verdict.created, image.check.quarantined, image.check.cancelled or image.review.created.';
COMMENT ON COLUMN dashboard.callbacks.state IS 'pending, delivered, failed (all attempts) or superseded (by a newer event of the check).';
COMMENT ON COLUMN dashboard.callbacks.attempts IS 'How many attempts have begun.';
COMMENT ON COLUMN dashboard.callbacks.created_at IS 'When the event was given to the endpoint.';
COMMENT ON COLUMN dashboard.callbacks.next_attempt_at IS 'When the next attempt is due, while it is pending.';
COMMENT ON COLUMN dashboard.callbacks.attempted_at IS 'When the latest attempt began.';
COMMENT ON COLUMN dashboard.callbacks.finished_at IS 'When it was delivered, failed or superseded; null before.';
COMMENT ON COLUMN dashboard.callbacks.status IS 'HTTP status of the latest answer; null when there was none.';
COMMENT ON COLUMN dashboard.callbacks.error_code IS 'Stable name of the latest failure; null once delivered.';
COMMENT ON COLUMN dashboard.callbacks.error_message IS 'One line about the latest failure.';
