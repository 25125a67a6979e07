"""Where image bytes come from, and where uploads are stored.

Reading order: `sources` (any URI: its form and its reader), then the readers `files` (paths under the image roots),
`urls` (`https://`) and `objects` (`s3://`, `gs://`, `az://`); what they return, `fetched`, and HTTP statuses as
errors, `statuses`; `storage` stores an upload under its digest.
"""
