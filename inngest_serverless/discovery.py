"""Finds the client of the app that an entrypoint serves. Knows no platform.

`INNGEST_APP="orders.functions:client"` names it as module:attribute; the attribute may be dotted.
Without it, the one client in the modules of CANDIDATES is taken. Their order means nothing: of
two clients none is chosen silently.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType, TracebackType

from inngest_sdk.client import Inngest
from inngest_sdk.errors import ConfigError

CANDIDATES = ("inngest_app", "app", "main", "function_app")

HOW = "set INNGEST_APP to module:attribute, for example INNGEST_APP=orders.functions:client"


def find_client(app: str | None, candidates: Sequence[str] = CANDIDATES) -> Inngest:
    """Return the client that `app` names (module:attribute), or the only one in `candidates`.

    Raises ConfigError when there is no telling which. What a module raises while it is imported
    comes through unchanged: its own traceback says most.
    """
    app = (app or "").strip()
    return _named(app) if app else _only(candidates)


class LazyClient:
    """The client of this process: looked for when first asked for, then kept.

    A search that failed is made again at the next call, since the cause may have been outside (a
    secret store that was busy); the error that counts stays the first one, because a module that
    is imported a second time tends to fail for another reason (a function id already taken).
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._client: Inngest | None = None
        self._failure: tuple[str | None, Exception, TracebackType | None] | None = None

    def get(self) -> Inngest:
        """Return the client, or raise what kept it from being found."""
        if self._client is None:
            self._client = self._search()
        return self._client

    def _search(self) -> Inngest:
        app = self._environ.get("INNGEST_APP")
        try:
            return find_client(app)
        except Exception as error:
            if self._failure is None or self._failure[0] != app:
                self._failure = (app, error, error.__traceback__)
        _, first, traceback = self._failure
        # Outside of the `except`, so that the first error keeps its own context, and with its own
        # traceback, which would otherwise grow with each call.
        raise first.with_traceback(traceback)


def explain(error: Exception) -> str:
    """Say why the app could not be loaded, in words fit for a public answer.

    An error of the import system or of this package is told in full. The text of any other may
    hold a secret (a database address with its password), so only its class is named.
    """
    name = type(error).__name__
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, (ImportError, SyntaxError)):
        return f"the app could not be imported: {name}: {error}"
    return f"the app could not be imported: it raised {name}; the log has the traceback"


def _named(app: str) -> Inngest:
    module_name, _, attribute = (part.strip() for part in app.partition(":"))
    if not _is_dotted(module_name) or not _is_dotted(attribute):
        raise ConfigError(
            f"INNGEST_APP={app!r} is not of the form module:attribute, "
            "for example orders.functions:client"
        )
    module = _import(module_name)
    if module is None:
        raise ConfigError(
            f"INNGEST_APP={app!r}: there is no module {module_name!r} on the import path; "
            "it must be importable from the root of what is deployed"
        )
    value: object = module
    path = module_name
    for name in attribute.split("."):
        if not hasattr(value, name):
            raise ConfigError(f"INNGEST_APP={app!r}: {_no_attribute(path, value, name)}")
        value = getattr(value, name)
        path = f"{path}.{name}"
    if not isinstance(value, Inngest):
        raise ConfigError(f"INNGEST_APP={app!r} {_not_a_client(value)}")
    return value


def _only(candidates: Sequence[str]) -> Inngest:
    found: dict[int, tuple[str, Inngest]] = {}  # by identity: `main` may import the client of `app`
    imported: list[str] = []
    for module_name in candidates:
        module = _import(module_name)
        if module is None:
            continue
        imported.append(module_name)
        for attribute, client in _clients(module):
            found.setdefault(id(client), (f"{module_name}:{attribute}", client))
    if len(found) == 1:
        return next(iter(found.values()))[1]
    if found:
        names = ", ".join(name for name, _ in found.values())
        raise ConfigError(f"several Inngest clients were found: {names}; set INNGEST_APP to one")
    raise ConfigError(
        f"no Inngest client was found: INNGEST_APP is not set, and of the modules "
        f"{', '.join(candidates)} {_outcome(imported)}; {HOW}"
    )


def _import(name: str) -> ModuleType | None:
    """Import a module; None if there is no such module."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module itself or a package above it is missing, and not something that it imports.
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise
    except SystemExit as error:
        # A script without a `__main__` guard would take the whole process with it.
        raise ConfigError(
            f"module {name!r} ended the process while it was imported (exit code {error.code!r}); "
            "put what it does behind `if __name__ == '__main__':`"
        ) from error


def _clients(module: ModuleType) -> list[tuple[str, Inngest]]:
    # A copy, because a lazy module may define names while it is looked at.
    return [(k, v) for k, v in list(vars(module).items()) if isinstance(v, Inngest)]


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _outcome(imported: Sequence[str]) -> str:
    if not imported:
        return "none exists"
    return f"only {', '.join(imported)} could be imported, without a client at the top level"


def _no_attribute(path: str, value: object, name: str) -> str:
    import difflib  # only on the way to an error

    said = f"{path!r} has no attribute {name!r}"
    if isinstance(value, ModuleType):
        spec = getattr(value, "__spec__", None)
        if getattr(spec, "_initializing", False):
            return f"{said} yet: it is still being imported (a circular import)"
        clients = [attribute for attribute, _ in _clients(value)]
        if clients:
            return f"{said}; its Inngest clients are: {', '.join(clients)}"
    names = [known for known in dir(value) if not known.startswith("_")]
    near = difflib.get_close_matches(name, names)
    return f"{said}; did you mean {' or '.join(map(repr, near))}?" if near else said


def _not_a_client(value: object) -> str:
    kind = type(value)
    if kind.__name__ == "Inngest" and kind.__module__.split(".")[0] == "inngest":
        return (
            "is a client of the official SDK; import Inngest from inngest_serverless instead: "
            "it takes the same arguments"
        )
    if isinstance(value, ModuleType):
        return f"is the module {value.__name__!r}, not an inngest_serverless.Inngest client"
    called = f" {value.__name__!r}" if isinstance(value, type) else ""
    return f"is a {kind.__name__}{called}, not an inngest_serverless.Inngest client"
