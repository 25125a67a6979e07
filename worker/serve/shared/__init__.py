"""What the requests of one process share, from its start to its end.

Reading order:

1. `services`: all of it in one object, given to each route.
2. Whether a request is accepted: `keyring` (API keys), `rates` (requests per second of a key), `in_flight` (requests at
   once), `times` (how long a client may take), `backlog` (backpressure).
3. One statement for many requests: `submitter` (one INSERT for all that wait), `waiters` (long polls).
"""
