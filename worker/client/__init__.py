"""For upload hooks: submit an image from Python. Imports no torch and needs no running worker.

    from susy_worker import submit

    receipt = submit(source="avatars", external_id="upload-1", uri="/images/1.jpg")

With SUSY_URL set, nothing but pydantic and urllib3 is imported.

Reading order: `client`, the one class that hooks use; `direct`, its way straight into Postgres; `http`, its way
through the HTTP service, over connections of `timed`.
"""

from schema.messages import Receipt
from worker.client.client import Client, submit

__all__ = ["Client", "Receipt", "submit"]
