"""RegistryError: what a client is told when its request cannot be met, one class per ServiceComb code in use."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class RegistryError(Exception):
    """A failure with a ServiceComb code. HTTP status = code // 1000 (api-rules.md 1.4)."""

    code: ClassVar[int] = 500003
    message: ClassVar[str] = "Internal server error"
    #: It is about the request alone: no event that this replica has not seen can change it.
    is_final: ClassVar[bool] = False

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail

    def body(self) -> bytes:
        """The error as compact JSON; `errorCode` is a string, because old clients search the text for it."""
        return msgspec.json.encode(ErrorBody(str(self.code), self.message, self.detail))


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The wire form of an error."""

    error_code: str
    error_message: str
    detail: str = ""


class InvalidParams(RegistryError):
    code = 400001
    message = "Invalid parameter(s)"
    is_final = True


class AnswerTooLarge(InvalidParams):
    """The answer would have `size` bytes or more, of `most` that are sent. It was not put together."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(
            f"the answer would have {size} bytes or more, {most} at most (REGISTRY_ANSWER_MAX_BYTES): "
            "ask for less at once, by a service, a version, tags or a shorter list"
        )


class LimitExceeded(RegistryError):
    """What would be stored is larger than a limit. Unlike bad input it depends on the view: what is there may stay."""

    code = 400001
    message = "Invalid parameter(s)"


class Unhealthy(RegistryError):
    code = 400002
    message = "Server is unhealthy"


class PolicyNotExists(RegistryError):
    """The API has no code of its own for a missing traffic policy; unlike bad input it depends on the view."""

    code = 400001
    message = "Traffic policy does not exist"


class ServiceAlreadyExists(RegistryError):
    code = 400010
    message = "Micro-service already exists"


class ServiceNotExists(RegistryError):
    code = 400012
    message = "Micro-service does not exist"


class DeployedInstance(RegistryError):
    code = 400013
    message = "Micro-service has deployed instance(s)"


class SchemaNotExists(RegistryError):
    code = 400016
    message = "Schema does not exist"


class InstanceNotExists(RegistryError):
    code = 400017
    message = "Instance does not exist"


class TagNotExists(RegistryError):
    code = 400018
    message = "Tag does not exist"


class DependedOnConsumer(RegistryError):
    code = 400023
    message = "Micro-service is depended on by consumer(s)"


class ServiceVersionNotExists(RegistryError):
    code = 400026
    message = "Micro-service version does not exist"


class NotEnoughQuota(RegistryError):
    code = 400100
    message = "Quota is not enough"


class Forbidden(RegistryError):
    code = 403001
    message = "Forbidden"


class BeforeHistory(RegistryError):
    """What is asked about lies before everything that is kept; the detail says from when on there is something."""

    code = 410001
    message = "No history is kept of that time"


class TooManyRequests(RegistryError):
    """This client asks for too much at a time. The API has no code for it."""

    code = 429001
    message = "Too many requests"


class Overloaded(RegistryError):
    """All clients together ask for too much at a time. The API has no code for it."""

    code = 503001
    message = "The registry is overloaded"


class StoreUnavailable(RegistryError):
    """The event store did not answer, or refused: our failure, never the client's."""

    code = 500011
    message = "The registry's store is unavailable"


class Withheld(StoreUnavailable):
    """The store answers, and is not asked for this, for a reason that has an alarm or a log line of its own."""


class NotReadByAll(Withheld):
    """A replica that lives could not read the event that would be written."""

    message = "A replica of the registry is too old for this"


class PositionNotReached(StoreUnavailable):
    """This replica has not applied what the client has seen elsewhere; another one may have."""
