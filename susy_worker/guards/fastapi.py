"""The guard of FastAPI's routes."""

from worker.guards.fastapi import Judgements, UploadGuard

__all__ = ["Judgements", "UploadGuard"]
