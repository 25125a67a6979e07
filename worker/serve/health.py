"""Probes: whether the process runs, and whether it can accept submissions. They need no key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from worker.serve.shared.services import Services, services_of

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether the process runs")
async def healthz() -> dict[str, Any]:
    """Contacts no server. Restart the service when this does not respond."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Whether submissions can be accepted",
    responses={503: {"description": "Postgres does not answer, or its schema is older than this version."}},
)
async def readyz(services: Annotated[Services, Depends(services_of)]) -> dict[str, Any]:
    """Reads the API keys from Postgres. Redis is not contacted: submissions are accepted without it."""
    await services.keys.read()
    return {"status": "ok", "has_keys": services.keys.has_keys}
