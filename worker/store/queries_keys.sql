-- The keys of the HTTP service. `queries.py` reads this file with `queries.sql`.

-- ADD_KEY: store a key; no row when another one that is not revoked has the name.
INSERT INTO susy.api_keys (id, name, digest, scopes, sources, expires_at)
VALUES (
    %(id)s, %(name)s, %(digest)s, %(scopes)s, %(sources)s,
    clock_timestamp() + make_interval(secs => %(lifetime)s)
)
ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING
RETURNING id;

-- LIST_KEYS: all keys, the newest last. Whether one has expired is judged by the database's clock.
SELECT
    id, name, digest, scopes, sources, created_at, expires_at, revoked_at, last_used_at,
    coalesce(expires_at <= clock_timestamp(), false) AS is_expired
FROM susy.api_keys ORDER BY created_at, id;

-- REVOKE_KEY: refuse a key from now on.
UPDATE susy.api_keys SET revoked_at = clock_timestamp() WHERE name = %(name)s AND revoked_at IS NULL RETURNING id;

-- TOUCH_KEYS: note that keys were used. Once per minute is enough.
UPDATE susy.api_keys SET last_used_at = clock_timestamp()
WHERE id = ANY(%(ids)s) AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute');
