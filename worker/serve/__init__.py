"""The HTTP service: submit checks, read them and their maps, review. Needs the extra `serve`; imports no torch.

Reading order:

1. `app` (the routes, and the middleware around them), and `server`, which runs it with uvicorn and `protocol`.
2. The routes, one package per group: `submitting` (checks and images), `reading` (checks, maps, events), `gate` (may an
   image be published), `hooks` (what storages report), `reviews` (what moderators and supervisors do); and `health`.
3. What every request passes: `requests` (access log, limits, authorization, bodies, idempotency).
4. What the requests of one process share: `shared` (connections, API keys, rates, backpressure, batches, long polls).
5. What every answer follows: `problems` (errors) and `openapi` (how OpenAPI shows them).

A group of routes is a module with a router, which `app` includes. Imports point down in this order.
"""
