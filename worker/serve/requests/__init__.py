"""What every request passes before its route.

Reading order: `access_log` (one line per request), `limits` (of the body's size and time), `authorization` (who sends
it, and whether they may), `bodies` (JSON), `idempotency` (a request that is repeated).
"""
