"""The public interface of susy-worker: what an upload hook imports. Needs no extra.

    from susy_worker import submit

    receipt = submit(source="avatars", external_id="upload-1", uri="/images/1.jpg")

In a checkout the code lies in the packages `worker`, `schema` and `migrations`; the wheel contains them inside this
one (`docs/decisions/0011-one-installed-package.md`).
"""

from worker.client import Client, Receipt, submit

__all__ = ["Client", "Receipt", "submit"]
