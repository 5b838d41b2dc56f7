"""Runs the application on its address until it is told to stop; requests in flight end first."""

from __future__ import annotations

import uvicorn

from pipelines.settings import Settings
from producer.api.app import create_app

STOP_S = 10
KEEP_ALIVE_S = 30


class _Server(uvicorn.Server):
    """Says where it listens once it does: with port 0 the system chooses."""

    async def startup(self, sockets: object = None) -> None:
        await super().startup(sockets=sockets)  # type: ignore[arg-type]
        for server in self.servers if self.started else ():
            host, port = server.sockets[0].getsockname()[:2]
            print(f"spillway serves http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)


async def serve(settings: Settings, redis_url: str) -> bool:
    """True when it ended as it was told to; False when it could not start."""
    config = uvicorn.Config(
        create_app(settings, redis_url),
        host=settings.api.host,
        port=settings.api.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
    )
    server = _Server(config)
    await server.serve()
    return server.started
