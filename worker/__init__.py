"""susy-worker: image checks from a queue, scored by SuSy, decided by a policy, stored in Postgres.

Reading order:

1. One check: `queue` (how it travels and is attempted), `pipeline` (one image from bytes to an examination), then the
   parts that these call: `sources`, `intake`, `detector`, `localization`, `policy`, and `store` (the ledger).
2. The ways in: `client` (Python), `serve` (HTTP), `guards` (upload handlers), `hooks` (what storages report),
   `importing` (manifests and folders), `cli` (the command line).
3. The way out: `callbacks`. Dashboards read views (`schema/dashboard.sql`).
4. `lab`: the science beside the service.
5. What all of them use: `settings`, `errors`, `log`, `machine`, `files`, `validation`, `extras` (packages that may be
   missing), `safe_http` and `object_location` (places that submitters name), `service_url` (of the HTTP service).
6. `embedded` and `demo` (servers and weights for trying things out), `capacity` (how many machines a number of uploads
   takes).
"""
