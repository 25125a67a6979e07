"""What is stored and sent: states, messages, scans, verdicts, examinations, scopes and tables.

Every package imports it; it imports neither the worker nor torch nor Celery. Reading order: `states`, `messages`,
`scan`, `verdict`, `examination`, `access`, then `tables` and `dashboard.sql`.
"""
