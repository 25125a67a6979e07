"""susy-worker: image checks from a queue, scored by SuSy, decided by a policy, stored in Postgres.

Reading order: `queue` (how a check travels and is attempted), `pipeline` (one image from bytes to an examination), then
the parts that it calls: `intake`, `detector`, `localization`, `policy`. `store` is the ledger; `client`, `importing`
and `cli` are the ways in; `lab` is the science beside the service.
"""
