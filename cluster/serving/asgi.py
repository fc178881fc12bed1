"""Wrap an ASGI application for Ray Serve, so that no header is sent and no error logged twice."""

import logging
from typing import Any

LOGGED = "lepton.logged"
"""Where a scope holds the error that the application has logged: its one record."""
log = logging.getLogger("ray.serve.lepton")


class Quiet:
    """Drop the X-Request-ID header, and log an error once.

    Ray Serve adds that header to every response, even to one that has it. The application logs an
    error when it answers it with a 500; if it were raised again, Ray Serve would log it, too. An
    error after the reply began has no 500, and is logged here.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer as the application does, without that header and without raising after a reply."""
        is_answered, number = False, "without an id"

        async def send_rest(message: Any) -> None:
            nonlocal is_answered, number
            if message["type"] == "http.response.start":
                is_answered = True
                headers = message["headers"]
                number = dict(headers).get(b"x-request-id", number.encode()).decode("latin-1")
                rest = [pair for pair in headers if pair[0] != b"x-request-id"]
                message = {**message, "headers": rest}
            await send(message)

        try:
            await self.app(scope, receive, send_rest)
        except Exception as error:
            if not is_answered:
                raise
            if scope.get(LOGGED) is not error:
                log.exception("request %s failed after its reply began", number)
