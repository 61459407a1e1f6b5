"""Plays the world for a flow that calls the server's API: gives the answers, keeps the requests."""

from __future__ import annotations

from typing import Generic, TypeVar

from inngest_sdk.config import Config, Secret
from inngest_sdk.effects import Fetch, Flow, Pause
from inngest_sdk.http import Request, Response, dumps

T = TypeVar("T")

DEV = Config(is_production=False, api_origin="http://dev:8288")
CLOUD = Config(
    signing_key=Secret("signkey-prod-ab12"), signing_key_fallback=Secret("signkey-prod-cd34")
)


def json_answer(status: int, body: object) -> Response:
    return Response(status, {}, dumps(body))


class Exchange(Generic[T]):
    """What a flow asked for, in order, and what it came to. Every answer must be asked for."""

    def __init__(self, flow: Flow[T], *answers: Response | Exception) -> None:
        self.requests: list[Request] = []
        self.pauses: list[float] = []
        self.result = self._play(flow, list(answers))

    def _play(self, flow: Flow[T], waiting: list[Response | Exception]) -> T:
        try:
            effect = next(flow)
            while True:
                if isinstance(effect, Pause):
                    self.pauses.append(effect.seconds)
                    effect = flow.send(None)
                    continue
                assert isinstance(effect, Fetch)
                self.requests.append(effect.request)
                match waiting.pop(0):
                    case Response() as answer:
                        effect = flow.send(answer)
                    case error:
                        effect = flow.throw(error)
        except StopIteration as stop:
            assert not waiting
            result: T = stop.value
            return result
