"""Errors that are meant to be read by a person.

Every one has a stable code, a message that says what happened, with which value and what to do, and the HTTP status it
becomes at the edge. A caller's mistake is never a 5xx.
"""

from __future__ import annotations

from typing import ClassVar, Literal

ProviderFailure = Literal[
    "key", "quota", "rate", "request", "unreachable", "server", "malformed", "stalled"
]
"""Why a provider failed; it decides whether retrying makes sense.

key: refused the key (401, 403). quota: no credit left (402, some 429). rate: too many requests (429). request: our
request is wrong for it (400, 404, 413, 422). unreachable: no connection. server: 5xx. malformed: an answer that is not
the protocol. stalled: nothing came for too long.
"""


class AppError(Exception):
    """A failure with a stable code and a message that says how to fix it.

    Attributes:
        code: Stable, dotted name a client can test for.
        status: HTTP status at the edge.
        retryable: True if the same call may work later.
    """

    code: ClassVar[str] = "app.error"
    status: ClassVar[int] = 400
    retryable: bool = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInputError(AppError):
    """What the caller sent cannot be used."""

    code = "input.invalid"
    status = 422


class UnauthorizedError(AppError):
    """No token, or not the right one."""

    code = "auth.required"
    status = 401


class ForbiddenError(AppError):
    """The caller is known but may not do this."""

    code = "auth.forbidden"
    status = 403


class NotFoundError(AppError):
    """What was named does not exist."""

    code = "not_found"
    status = 404


class ConflictError(AppError):
    """It cannot be done in the present state."""

    code = "conflict"
    status = 409


class TooLargeError(AppError):
    """More than is accepted."""

    code = "input.too_large"
    status = 413


class BusyError(AppError):
    """Too many requests, or a full queue."""

    code = "busy"
    status = 429
    retryable = True


class EngineUnavailableError(AppError):
    """An engine cannot run here: library, key or model file is missing."""

    code = "engine.unavailable"
    status = 503


class EngineFailedError(AppError):
    """An engine ran and failed, crashed or took too long."""

    code = "engine.failed"
    status = 502
    retryable = True


class StorageError(AppError):
    """The database cannot be read or written."""

    code = "storage.failed"
    status = 503


class StorageFullError(StorageError):
    """No room is left where the database lies."""

    code = "storage.full"
    status = 507
    retryable = True


class StorageLockedError(StorageError):
    """Another program holds the database."""

    code = "storage.locked"
    retryable = True


class StorageDamagedError(StorageError):
    """The database file is not what it should be."""

    code = "storage.damaged"


class StorageForeignError(StorageError):
    """The database belongs to a newer Luma, or to another program; it is left untouched."""

    code = "storage.foreign"


class ProviderError(AppError):
    """A remote service refused or failed.

    Attributes:
        kind: Why, see `ProviderFailure`.
        provider: Whose failure it is ("openrouter").
        retry_after_s: How long the provider asked us to wait, if it did.
    """

    code = "provider.failed"
    status = 502

    def __init__(
        self,
        message: str,
        *,
        kind: ProviderFailure,
        provider: str,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.provider = provider
        self.retry_after_s = retry_after_s
        self.retryable = kind in ("rate", "unreachable", "server", "stalled", "malformed")
