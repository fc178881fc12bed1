"""Wrap an HTTP application for Ray Serve, so that nothing is answered or logged twice."""

from typing import Any


class Quiet:
    """An application that leaves to Ray Serve what Ray Serve does anyway, and no more.

    Ray Serve adds the header with the request's id to every answer, whether it stands there or not.
    An error that was answered is in the log already; raised on, it would stand there twice.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer as the application does, less that one header and what it raises after it."""
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
