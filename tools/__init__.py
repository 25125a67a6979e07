"""Programs for those who develop susy-worker. Not installed.

Reading order: `relocate` (the build of the wheel); what makes parts of the documentation: `settings_table`,
`http_reference`, `database_page`, `role_privileges`, `hostile_urls`; `seaweedfs` (a server of S3 for tests),
`demo_hooks` (the demonstration of hooks), `demo_weights` (how the demonstration weights are made).
"""
