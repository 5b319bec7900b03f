"""Login: the token of an account, asked for once and renewed before it ends (api-rules.md 3.16)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from registry.client.answers import Fault, read_answer
from registry.client.errors import WRONG_PASSWORD, Refused, Unreachable
from registry.client.tokens import renew_at
from registry.client.wire import Credentials, Token

#: Seconds. The third wrong password in 15 minutes blocks the account for everyone behind this address, so one is
#: tried again no sooner than that.
WRONG_PAUSE_S: Final = 900.0

#: Sends the credentials; the status and the body of the answer.
Post = Callable[[bytes], Awaitable[tuple[int, bytes]]]


class Login:
    """One account. A registry that has no accounts (404) is spoken to without a token.

    Args:
        password: "": the token is used until it ends, and not renewed.
        token: one that was given before; "": it is asked for when it is needed.
    """

    def __init__(self, name: str, password: str, token: str = "") -> None:
        self._credentials = msgspec.json.encode(Credentials(name, password))
        self._may_renew = bool(password)
        self._token = token
        #: Seconds since 1970, as the tokens have it; 0: there is none yet.
        self._renew_at = (renew_at(token, time.time()) if password else float("inf")) if token else 0.0
        self._refused: Refused | None = None
        self._one_at_a_time: asyncio.Lock | None = None

    async def token(self, post: Post) -> str:
        """The token in use; a new one when it is time.

        Raises:
            Refused: name or password are wrong, or the account is blocked.
            Unreachable: no address answered.
        """
        if time.time() < self._renew_at:
            return self._known()
        # A lock belongs to the loop in which it is first used; the client may be made before there is one.
        self._one_at_a_time = self._one_at_a_time or asyncio.Lock()
        async with self._one_at_a_time:
            if time.time() >= self._renew_at:
                await self._ask(post)
        return self._known()

    def renew(self, refused: str) -> bool:
        """The registry does not take this token. True when asking for a new one may help."""
        if self._refused is not None or not self._may_renew:
            return False
        if refused == self._token:
            self._renew_at = 0.0
        return True

    def _known(self) -> str:
        if self._refused is not None:
            raise self._refused
        return self._token

    async def _ask(self, post: Post) -> None:
        status, body = await post(self._credentials)
        now = time.time()
        if status == 404:
            # The registry has no accounts; should it get some, it answers 401.
            self._token, self._renew_at, self._refused = "", float("inf"), None
            return
        try:
            answer: Token = read_answer(status, body, Token)
        except Refused as exc:
            if exc.code not in WRONG_PASSWORD:
                raise
            self._refused, self._renew_at = exc, now + WRONG_PAUSE_S
            return
        except Fault as exc:
            raise Unreachable(f"the log-in {exc}") from exc
        self._token, self._renew_at, self._refused = answer.token, renew_at(answer.token, now), None
