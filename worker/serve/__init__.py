"""The HTTP service: submit checks, read them and their maps, follow events. Needs the extra `serve`; imports no torch.

Reading order:

1. `app` (the routes and what surrounds them), `services` (what requests share).
2. The routes, one module per group: `checks`, `images`, `events`, `maps`, `reviews`, `claims` and `supervision`
   (people who review), `hooks`, `gate` with `gate_rules`, `health`. A further group is a module with a router, named in
   `app`.
3. Who may send what, and how much: `authorization`, `keyring` (API keys), `rates`, `limits`, `backlog` (backpressure).
4. A request's body: `bodies` (JSON), `forms` and `uploads` (images); `idempotency` (requests that are repeated).
5. One statement for many requests: `submitting` (one INSERT for all that wait), `waiting` (long polls).
6. Answers: `problems` (errors), `documents`, `review_documents`, `examples`, `review_examples` and `hook_examples`
   (what OpenAPI says), `access` (the log).
7. `server` and `protocol` run it.
"""
