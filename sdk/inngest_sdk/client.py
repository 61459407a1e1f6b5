"""The client: the app's name, its settings, and the functions that belong to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from inngest_sdk.checkpoint import Checkpointing, Server
from inngest_sdk.config import Config, Streaming
from inngest_sdk.errors import FunctionConfigInvalidError, SendEventsError
from inngest_sdk.event_types import EventReader, EventType, check_annotation, plain, triggers_of
from inngest_sdk.events import Event, SendEventsResult
from inngest_sdk.flow_control import (
    Batch,
    Cancel,
    Concurrency,
    Debounce,
    Priority,
    RateLimit,
    Singleton,
    Throttle,
    Timeouts,
)
from inngest_sdk.function import Decorator, Function, Options, Trigger, check_id
from inngest_sdk.middleware import (
    Chain,
    UninitializedMiddleware,
    await_hooks,
    call_hooks,
    register,
)
from inngest_sdk.sending import send_flow
from inngest_sdk.serializer import NoOutputType, Serializer

if TYPE_CHECKING:
    from inngest_sdk.realtime import SubscriptionToken, Topic  # loaded when they are used

T = TypeVar("T")
Logger: TypeAlias = "logging.Logger | logging.LoggerAdapter[Any]"


@dataclass(frozen=True)
class RegisteredHandler:
    """What to call for a function's id; `function` is the one that the handler belongs to, and
    `reader`, if there is one, reads the events that start it."""

    callable: Callable[..., Any]
    is_async: bool
    output_type: object
    function: Function[Any]
    reader: EventReader | None = None


class Inngest:
    """An app: make one per program, and its functions with `create_function`.

        client = Inngest(app_id="shop")

        @client.create_function(fn_id="mail", trigger=TriggerEvent(event="shop/order.placed"))
        async def mail(ctx: Context) -> None: ...

    What is not given as an argument comes from the environment (`INNGEST_DEV`,
    `INNGEST_EVENT_KEY`, `INNGEST_SIGNING_KEY`, …). An int of `request_timeout` is milliseconds;
    the default is 30 seconds. With `checkpointing` (see Checkpointing) one call runs many steps.

    Raises FunctionConfigInvalidError for an `app_id` that cannot be one, and ConfigError that
    names every setting with a bad value.
    """

    def __init__(
        self,
        *,
        app_id: str,
        api_base_url: str | None = None,
        app_version: str | None = None,
        checkpointing: Checkpointing | bool = True,
        env: str | None = None,
        event_api_base_url: str | None = None,
        event_key: str | None = None,
        is_production: bool | None = None,
        logger: Logger | None = None,
        middleware: Sequence[UninitializedMiddleware] | None = None,
        request_timeout: int | timedelta | None = None,
        serializer: Serializer | None = None,
        signing_key: str | None = None,
        streaming: Streaming | None = None,
    ) -> None:
        check_id("app_id", app_id)
        self.app_id = app_id
        self.app_version = app_version
        self.config: Config = Config.from_env(
            api_base_url=api_base_url,
            env=env,
            event_api_base_url=event_api_base_url,
            event_key=event_key,
            is_production=is_production,
            request_timeout=request_timeout,
            signing_key=signing_key,
            streaming=streaming,
        )
        self.logger: Logger = logging.getLogger("inngest") if logger is None else logger
        self.serializer = serializer
        self.middleware: list[UninitializedMiddleware] = register(middleware or (), self)
        self.checkpointing = checkpointing
        self.server: Server = Server(self.config)
        self.functions: dict[str, Function[Any]] = {}
        self._handlers: dict[str, RegisteredHandler] = {}

    @property
    def env(self) -> str | None:
        """The branch environment, None for the one that the keys belong to."""
        return self.config.env

    @property
    def api_origin(self) -> str:
        """Where the app registers."""
        return self.config.api_origin

    @property
    def event_api_origin(self) -> str:
        """Where events are sent."""
        return self.config.event_api_origin

    def add_middleware(self, middleware: UninitializedMiddleware) -> None:
        """Put another middleware behind those that the client has."""
        self.middleware += register([middleware], self)

    def set_logger(self, logger: Logger) -> None:
        """Log to this logger from now on."""
        self.logger = logger

    def create_function(
        self,
        *,
        fn_id: str,
        trigger: Trigger | EventType[Any] | Sequence[Trigger | EventType[Any]],
        name: str | None = None,
        retries: int | None = None,
        batch_events: Batch | None = None,
        cancel: Sequence[Cancel] | None = None,
        checkpointing: Checkpointing | bool | None = None,
        concurrency: Sequence[Concurrency] | None = None,
        debounce: Debounce | None = None,
        idempotency: str | None = None,
        middleware: Sequence[UninitializedMiddleware] | None = None,
        on_failure: Callable[[Any], Any] | None = None,
        output_type: object = NoOutputType,
        priority: Priority | None = None,
        rate_limit: RateLimit | None = None,
        throttle: Throttle | None = None,
        timeouts: Timeouts | None = None,
        singleton: Singleton | None = None,
    ) -> Decorator:
        """Make a durable function of the function below, and let it belong to this client.

        `fn_id` must stay the same for runs that are under way to be found again; `name` is what
        people read. `trigger` takes up to 10. A failed attempt is repeated `retries` times (0 to
        20; the server's default is 4); when all have failed, `on_failure` is called. The
        expression `idempotency` starts one run per value in 24 hours. `cancel` takes up to 5,
        `concurrency` up to 2. `checkpointing` is the client's unless it is given here;
        `middleware` comes after the client's.

        Raises FunctionConfigInvalidError, at once or when the function is put under it.
        """
        options = Options(
            batch_events=batch_events,
            cancel=cancel,
            checkpointing=checkpointing,
            concurrency=concurrency,
            debounce=debounce,
            idempotency=idempotency,
            priority=priority,
            rate_limit=rate_limit,
            retries=retries,
            throttle=throttle,
            timeouts=timeouts,
            singleton=singleton,
        )
        triggers = triggers_of(trigger)

        def decorate(handler: Callable[[Any], Any]) -> Function[Any]:
            function: Function[Any] = Function(
                app_id=self.app_id,
                local_id=fn_id,
                name=fn_id if name is None else name,
                handler=handler,
                triggers=triggers,
                options=options,
                on_failure=on_failure,
                output_type=output_type,
                middleware=tuple(middleware or ()),
            )
            check_annotation(fn_id, handler, triggers)
            self._add(function)
            register(function.middleware, self, function)
            return function

        # A function that returns an overloaded one cannot be written otherwise.
        return cast(Decorator, decorate)

    def handler_for(self, fn_id: str) -> RegisteredHandler | None:
        """Return what to call for a full id, such as "shop-mail" or "shop-mail-failure"."""
        return self._handlers.get(fn_id)

    async def send(
        self, events: Event[Any] | Sequence[Event[Any]], *, skip_middleware: bool = False
    ) -> list[str]:
        """Send one event or several, and return their ids, in order.

        A try that fails for the server's or the network's sake is repeated, up to five tries in
        all, without sending anything twice. `skip_middleware` leaves the client's out.

        Raises SendEventsError, with the ids of those that were accepted, and ConfigError without
        an event key in cloud mode.
        """
        import asyncio

        chain = Chain(() if skip_middleware else self.middleware, self, None, asyncio.to_thread)
        return await self.send_through(chain, events)

    def send_sync(
        self, events: Event[Any] | Sequence[Event[Any]], *, skip_middleware: bool = False
    ) -> list[str]:
        """Do what `send` does, blocking."""
        chain = Chain(() if skip_middleware else self.middleware, self, None)
        return self.send_sync_through(chain, events)

    async def send_signal(self, signal: str, data: object = None) -> str:
        """Send a signal to the run that waits for it (`step.wait_for_signal`), and return that
        run's id. `data` is any JSON, 4 MB at most.

        Raises SignalNotAwaitedError when no run waits, and SendSignalError.
        """
        from inngest_sdk.drive import drive_async
        from inngest_sdk.signals import send_signal_flow

        return await drive_async(send_signal_flow(self.config, signal, data))

    def send_signal_sync(self, signal: str, data: object = None) -> str:
        """Do what `send_signal` does, blocking."""
        from inngest_sdk.drive import drive
        from inngest_sdk.signals import send_signal_flow

        return drive(send_signal_flow(self.config, signal, data))

    async def publish(self, topic: Topic[T], message: T) -> None:
        """Send a message to those who watch a topic now; it is not kept for others.

        Raises RealtimeError.
        """
        from inngest_sdk.drive import drive_async
        from inngest_sdk.realtime import publish_flow

        data = topic.dump(message)
        await drive_async(publish_flow(self.config, topic.channel, topic.name, data))

    def publish_sync(self, topic: Topic[T], message: T) -> None:
        """Do what `publish` does, blocking."""
        from inngest_sdk.drive import drive
        from inngest_sdk.realtime import publish_flow

        data = topic.dump(message)
        drive(publish_flow(self.config, topic.channel, topic.name, data))

    async def subscription_token(
        self, channel: str, topics: Sequence[str | Topic[Any]]
    ) -> SubscriptionToken:
        """Get a token with which a browser may watch these topics of a channel, for a start within
        a minute.

        Raises RealtimeError.
        """
        from inngest_sdk.drive import drive_async
        from inngest_sdk.realtime import token_flow

        return await drive_async(token_flow(self.config, channel, topics))

    def subscription_token_sync(
        self, channel: str, topics: Sequence[str | Topic[Any]]
    ) -> SubscriptionToken:
        """Do what `subscription_token` does, blocking."""
        from inngest_sdk.drive import drive
        from inngest_sdk.realtime import token_flow

        return drive(token_flow(self.config, channel, topics))

    async def send_through(
        self, chain: Chain, events: Event[Any] | Sequence[Event[Any]]
    ) -> list[str]:
        """Send events through this middleware: in a function its own comes after the client's."""
        from inngest_sdk.drive import drive_async
        from inngest_sdk.transport import event_id_seed

        listed = _listed(events)
        await await_hooks(chain.forward("before_send_events", listed))
        try:
            ids = await drive_async(send_flow(self.config, listed, event_id_seed()))
        except SendEventsError as error:
            await await_hooks(chain.backward("after_send_events", _unsent(error)))
            raise
        await await_hooks(chain.backward("after_send_events", SendEventsResult(ids=ids)))
        return ids

    def send_sync_through(
        self, chain: Chain, events: Event[Any] | Sequence[Event[Any]]
    ) -> list[str]:
        """Do what `send_through` does, blocking."""
        from inngest_sdk.drive import drive
        from inngest_sdk.transport import event_id_seed

        listed = _listed(events)
        call_hooks(chain.forward("before_send_events", listed))
        try:
            ids = drive(send_flow(self.config, listed, event_id_seed()))
        except SendEventsError as error:
            call_hooks(chain.backward("after_send_events", _unsent(error)))
            raise
        call_hooks(chain.backward("after_send_events", SendEventsResult(ids=ids)))
        return ids

    def _add(self, function: Function[Any]) -> None:
        handlers = {
            function.id: RegisteredHandler(
                function.handler,
                function.is_handler_async,
                function.output_type,
                function,
                EventReader(function.triggers),
            )
        }
        if function.on_failure is not None and function.on_failure_fn_id is not None:
            handlers[function.on_failure_fn_id] = RegisteredHandler(
                function.on_failure,
                bool(function.is_on_failure_handler_async),
                NoOutputType,
                function,
            )
        for fn_id in handlers:
            if fn_id in self._handlers:
                raise FunctionConfigInvalidError(
                    f"fn_id is {function.local_id!r}, but this app already has a function "
                    f"{fn_id!r}; ids must be unique in an app (an on_failure handler takes "
                    "'<id>-failure')"
                )
        self._handlers.update(handlers)
        self.functions[function.id] = function


def _unsent(error: SendEventsError) -> SendEventsResult:
    return SendEventsResult(error=error.message, ids=error.ids)


def _listed(events: Event[Any] | Sequence[Event[Any]]) -> list[Event]:
    # A dict is no list of events, though it can be iterated; sending says what is wrong with it.
    listed: Any = events if isinstance(events, (list, tuple)) else [events]
    return [plain(each) for each in listed]
