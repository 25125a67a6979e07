"""Callbacks: what happened to checks, sent to the endpoints that an operator has registered.

Reading order: `payload` (an event as it is sent), `signing` (keys, and the headers of Standard Webhooks 1.0),
`registration` (an endpoint's URL and first key), `attempt` (one request and what its answer means), `schedule` (when the
next attempt is due), `deliver` (the process that claims, sends and records). The ledger's part is
`worker.store.callbacks`; `docs/callbacks.md` is the receiver's page.
"""
