"""Open-LLM-VTuber clients: their socket, their routes, and who of them is connected."""

from __future__ import annotations

from backend.api.client_ws.routes import router

__all__ = ["router"]
