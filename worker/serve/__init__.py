"""The HTTP service: submit checks, read them and their maps, follow events. Needs the extra `serve`; imports no torch.

Reading order: `app` (the routes and what surrounds them), `services` (what requests share), `checks` (the most used
routes), then one module per group of routes, and below them `keyring` (API keys), `rates`, `backlog` (backpressure),
`submitting` (one INSERT for all requests that wait), `waiting` (long polls), `bodies`, `problems`, `limits`, `access`.
`server` and `protocol` run it. A further group of routes is a module with a `router`, named in `app`.
"""
