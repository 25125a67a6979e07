"""What is stored and sent: states, messages, scans, verdicts, examinations and tables.

Every package imports it; it imports neither the worker nor torch nor Celery. Reading order: `states`, `messages`,
`scan`, `verdict`, `examination`, then `tables` and `dashboard.sql`.
"""
