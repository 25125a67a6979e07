-- Events of object storage, and sweeps of it. `queries.py` reads this file with `queries.sql`.

-- NOTE_SEQUENCERS: remember the latest sequencer of each object, and return it. Compared as digits, the shorter one
-- filled with zeros on its right.
INSERT INTO susy.object_sequencers AS known (object, sequencer)
SELECT object, sequencer FROM unnest(%(objects)s::bytea[], %(sequencers)s::text[]) AS noted (object, sequencer)
ORDER BY object
ON CONFLICT (object) DO UPDATE SET
    sequencer = greatest(
        rpad(known.sequencer, greatest(length(known.sequencer), length(excluded.sequencer)), '0') COLLATE "C",
        rpad(excluded.sequencer, greatest(length(known.sequencer), length(excluded.sequencer)), '0') COLLATE "C"
    ),
    seen_at = clock_timestamp()
RETURNING object, sequencer;

-- FORGET_SEQUENCERS: delete some of those that no event has named for a long time.
DELETE FROM susy.object_sequencers WHERE object IN (
    SELECT object FROM susy.object_sequencers
    WHERE seen_at < clock_timestamp() - make_interval(secs => %(age)s)
    ORDER BY seen_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
);

-- KNOWN_CHECKS: which of these submissions exist.
SELECT source, external_id FROM susy.checks
WHERE (source, external_id) IN (SELECT * FROM unnest(%(sources)s::text[], %(external_ids)s::text[]));

-- BEGIN_SWEEP: the key after which a sweep that did not finish continues; null when a new one begins. One that was
-- interrupted more than a day ago begins anew.
INSERT INTO susy.sweeps AS known (location) VALUES (%(location)s)
ON CONFLICT (location) DO UPDATE SET
    after_key = CASE
        WHEN known.finished_at IS NULL AND known.updated_at > clock_timestamp() - interval '1 day' THEN known.after_key
    END,
    updated_at = clock_timestamp(),
    finished_at = NULL
RETURNING after_key;

-- NOTE_SWEEP: a sweep has come to this key; null when it has reached the end.
UPDATE susy.sweeps SET
    after_key = %(after_key)s,
    updated_at = clock_timestamp(),
    finished_at = CASE WHEN %(after_key)s::text IS NULL THEN clock_timestamp() END
WHERE location = %(location)s;
