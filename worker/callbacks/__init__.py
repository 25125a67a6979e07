"""Callbacks: what happened to checks, sent to the endpoints that an operator has registered.

Reading order: `payload` (an event as it is sent), `signing` (keys, and the headers of Standard Webhooks 1.0),
`registration` (what an endpoint's URL may be), `attempt` (one request and what its answer means), `schedule` (when the
next attempt is due), `sender` (the requests to one endpoint), `deliver` (the process that claims, sends and records),
`health` (its probe). The ledger's part is `worker.store.callbacks`; `docs/callbacks.md` is the receiver's page.
"""
