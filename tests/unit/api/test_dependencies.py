"""Requests are answered in the loop: what is no coroutine would send each of them through a worker thread."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from backend.api import ROUTERS


def called(dependant: Dependant) -> Iterator[object]:
    yield dependant.call
    for one in dependant.dependencies:
        yield from called(one)


def test_no_route_nor_what_it_depends_on_needs_a_worker_thread() -> None:
    seen = 0
    for router in ROUTERS:
        for route in router.routes:
            if not isinstance(route, APIRoute):  # a socket
                continue
            for call in called(route.dependant):
                seen += 1
                assert inspect.iscoroutinefunction(call), (route.path, call)
    assert seen > 150
