"""Wrap an ASGI application for Ray Serve, so that no header is sent and no error logged twice."""

from typing import Any


class Quiet:
    """Drop the X-Request-ID header, and errors that were already answered.

    Ray Serve adds that header to every response, even to one that has it. The application logs an
    error when it answers it with a 500; if it were raised again, Ray Serve would log it, too.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer as the application does, without that header and without raising after a reply."""
        is_answered = False

        async def send_rest(message: Any) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                rest = [pair for pair in message["headers"] if pair[0] != b"x-request-id"]
                message = {**message, "headers": rest}
            await send(message)

        try:
            await self.app(scope, receive, send_rest)
        except Exception:
            if not is_answered:
                raise
