"""What is stored and sent: states, messages, scans, verdicts, examinations, scopes and tables.

Every package imports it; it imports neither the worker nor torch nor Celery. Reading order:

1. What crosses boundaries: `states`, `messages`, `scan` and `scan_batch`, `verdict`, `examination`, `gate`, `access`.
2. The ledger: `tables`, and the SQL of its triggers and functions: `append_only.sql`, `events.sql`, `triggers.sql`,
   `reviews.sql`, `claims.sql`, `bulk_reviews.sql`, `review_queue.sql`.
3. What dashboards read: the views in `dashboard.sql`. `comments.sql` describes tables, views and columns.
"""
