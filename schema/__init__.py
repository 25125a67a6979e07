"""What is stored and sent: states, messages, measurements, verdicts, maps and tables.

Imported by everything, importing nothing of the worker: neither torch nor celery.
"""
