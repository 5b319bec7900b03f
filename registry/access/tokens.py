"""Tokens: signed claims (JWT, RS512), and the keys that sign and verify them.

A token says whose it is and until when. What its owner may do is looked up when it is used, not read from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jwt.types import Options

from registry.access.claims import Claims
from registry.domain.access_errors import TokenExpired, Unauthorized
from registry.domain.accounts import AccessView, Secret, SigningKey

#: The only one that is made, and the only one that is believed, no matter what a token's header says.
ALGORITHM: Final = "RS512"
KEY_BITS_LEAST: Final = 2048
#: Characters of a token; ours have fewer than 2,000.
TOKEN_MAX: Final = 4096


_OPTIONS: Final[Options] = {
    "require": ["exp"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
}


class KeyUnusable(ValueError):
    """These bytes are no key that can sign; the message says why, and not what they are."""


class Key(NamedTuple):
    kid: str
    private: rsa.RSAPrivateKey


def generate_key() -> SigningKey:
    """A new key of the deployment. Takes some tenths of a second."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS_LEAST)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return SigningKey(kid_of(private), Secret(pem))


def read_key(pem: bytes) -> Key:
    """The key of a PEM file, PKCS#1 or PKCS#8. Raises KeyUnusable."""
    try:
        private = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnusable("it is no private key in PEM without a pass phrase (PKCS#1 or PKCS#8)") from None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise KeyUnusable("it is no RSA key")
    if private.key_size < KEY_BITS_LEAST:
        raise KeyUnusable(f"it has {private.key_size} bits, {KEY_BITS_LEAST} is the least")
    return Key(kid_of(private), private)


def kid_of(private: rsa.RSAPrivateKey) -> str:
    """The name of a key, which follows from it."""
    der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(der).hexdigest()[:16]


class Keyring:
    """Keys that are valid now; the last one signs."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._signing = keys[-1] if keys else None
        self._public = {key.kid: key.private.public_key() for key in keys}

    def sign(self, claims: Claims) -> str:
        """A token. Raises Unauthorized when there is no key."""
        if self._signing is None:
            raise Unauthorized("there is no key to sign with")
        payload = {
            "machine" if claims.machine else "account": claims.name,
            "roles": list(claims.roles),
            "era": claims.era,
            "exp": claims.expires_s,
        }
        headers = {"kid": self._signing.kid}
        return jwt.encode(payload, self._signing.private, algorithm=ALGORITHM, headers=headers)

    def read(self, token: str, now_s: float) -> Claims:
        """What a token says.

        Raises:
            Unauthorized: none of the keys has signed it, or it does not say whose it is.
            TokenExpired
        """
        if len(token) > TOKEN_MAX:
            raise Unauthorized(f"a token has at most {TOKEN_MAX} characters")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != ALGORITHM:
                raise Unauthorized(f"a token is signed with {ALGORITHM}")
            public = self._public.get(str(header.get("kid", "")))
            if public is None:
                raise Unauthorized("the token was signed with a key that is not known here")
            # How long it lasts is asked below, of the clock that was given; clocks of replicas differ a little.
            payload = jwt.decode(token, public, algorithms=[ALGORITHM], options=_OPTIONS)
        except jwt.InvalidTokenError:
            raise Unauthorized("the token is none, or was not signed here") from None
        return _claims(payload, now_s)


def keyring_of(accounts: AccessView, file_keys: Sequence[Key]) -> Keyring:
    """The keys of files, the one that signs first: they alone count. Without any, those of the log count."""
    return Keyring(tuple(reversed(file_keys)) or _usable(accounts))


def _usable(accounts: AccessView) -> list[Key]:
    found = []
    for key in accounts.keys:
        try:
            found.append(read_key(key.pem.text.encode()))
        except KeyUnusable:
            continue  # a later version's; this one cannot sign or verify with it
    return found


def _claims(payload: dict[str, Any], now_s: float) -> Claims:
    machine = "machine" in payload
    name, era, expires_s = payload.get("machine" if machine else "account"), payload.get("era"), payload["exp"]
    if not isinstance(name, str) or not isinstance(era, str) or type(expires_s) is not int:
        raise Unauthorized("the token does not say whose it is")
    if now_s >= expires_s:
        raise TokenExpired("log in again")
    return Claims(name, era, expires_s, machine)
