"""Commands about what decides.

Reading order: `policy` (files and versions), `find` (which policy a command means), `revision` (how a change is made),
`change` (activate, route, shadow, roll back) and `audit`; then what a policy would have decided, `backtest`, `cases`
and `apply`, how that is undone, `undo`, who did what, `history`, and whether what comes in has changed, `drift`.
"""
