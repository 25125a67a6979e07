"""`susy submit`: queue images for the workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schema.states import Lane
from worker.cli.output import error_document, notes, out, print_json
from worker.errors import ErrorCode, PermanentError, SusyError, printable
from worker.files import read_regular_file
from worker.settings import Settings, load_settings
from worker.settings.units import parse_duration

if TYPE_CHECKING:
    from worker.client import Client, Receipt


def submit(
    images: Annotated[
        list[str],
        typer.Argument(
            help="Paths under SUSY_IMAGE_ROOTS, or https://, s3://, gs:// or az:// URIs. With SUSY_URL, any path: the "
            "file is uploaded to the service.",
            metavar="PATH|URL",
        ),
    ],
    lane: Annotated[Lane, typer.Option(help="live is served before backfill.")] = Lane.LIVE,
    source: Annotated[str, typer.Option(help="Who asks.")] = "cli",
    external_id: Annotated[
        str | None, typer.Option(help="Your id of the upload; the same one is accepted once. For one image only.")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Name of the policy to decide by.")] = None,
    expires_in: Annotated[
        str | None,
        typer.Option(help="End as expired, unexamined, what no worker has begun after this time: 90s, 5m, 2h."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Accept images for checking, and print their check ids."""
    from worker.client import Client
    from worker.sources.files import display_path
    from worker.sources.sources import shown

    if external_id is not None and len(images) > 1:
        raise typer.BadParameter("names one upload; submit one image with it", param_hint="--external-id")
    try:
        lasts = None if expires_in is None else parse_duration(expires_in)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires-in") from None
    settings = load_settings()
    failed = False
    with Client(settings) as client:
        for image in images:
            is_uri = "://" in image
            document: dict[str, Any] = {"path": shown(image) if is_uri else display_path(image)}
            try:
                fields = {
                    "source": source, "external_id": external_id, "lane": lane, "policy": policy, "expires_in": lasts,
                }  # fmt: skip
                receipt = _submit(client, image, fields, settings, is_uri=is_uri)
                document |= {"check_id": str(receipt.check_id), "created": receipt.created}
            except SusyError as error:
                failed = True
                document["error"] = error_document(error)
            _print(document, as_json=json)
    if failed:
        raise typer.Exit(1)


def _submit(client: Client, image: str, fields: dict[str, Any], settings: Settings, *, is_uri: bool) -> Receipt:
    """A file is uploaded to the service where there is one, and named to the workers otherwise."""
    from worker.sources.sources import locate

    if settings.url is None:
        # Refused here rather than in quarantine: whoever typed the path is still looking.
        return client.submit(uri=locate(image if is_uri else str(Path(image).absolute()), settings), **fields)
    if is_uri:
        return client.submit(uri=image, **fields)
    try:
        content = read_regular_file(Path(image), settings.max_bytes)
    except OSError as error:
        code = ErrorCode.NOT_FOUND if isinstance(error, FileNotFoundError) else ErrorCode.UNREADABLE
        raise PermanentError(code, f"{image!r} cannot be read: {error.strerror}") from error
    return client.upload(content, **fields)


def _print(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    elif "error" in document:
        notes.print(f"susy: {document['error']['code']}: {document['error']['message']}", soft_wrap=True)
    else:
        repeat = "" if document["created"] else "  (accepted before)"
        out.print(f"{document['check_id']}  {printable(document['path'])}{repeat}")
