"""Guards of upload handlers: one line before a view of Django, Flask or FastAPI asks the gate about its files.

Reading order: `judging` (what a guard decides of one file), then the frameworks, one file each: `django`, `flask`,
`fastapi`. They import only their own framework and the client.
"""
