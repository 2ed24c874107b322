"""Routes that ask for the key before they read the body: what strangers send is not parsed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from filemill.web.identifying import Needs


class KeyedRoute(APIRoute):
    """A route with a body that the framework reads, which it would do before it asks who sends it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the key."""
        handle = super().get_route_handler()
        asked = [each.call for each in self.dependant.dependencies if isinstance(each.call, Needs)]

        async def handling(request: Request) -> Response:
            for needs in asked:
                await needs(request)
            return await handle(request)

        return handling
