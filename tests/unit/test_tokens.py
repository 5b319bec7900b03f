"""A token that was not signed here, or not so, is none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from registry.access.claims import Claims
from registry.access.tokens import ALGORITHM, TOKEN_MAX, Key, Keyring, KeyUnusable, generate_key, read_key
from registry.domain.access_errors import TokenExpired, Unauthorized
from registry.domain.errors import RegistryError


def key() -> Key:
    return read_key(generate_key().pem.text.encode())


OURS, ANOTHER = key(), key()
RING = Keyring([OURS])
CLAIMS = Claims("ann", "r-1", 2_000)
NOW = 1_000.0


def signed(
    payload: dict[str, Any] | None = None, private: Any = OURS.private, algorithm: str = ALGORITHM, kid: str = OURS.kid
) -> str:
    payload = {"account": "ann", "era": "r-1", "exp": 2_000, "roles": ["admin"]} if payload is None else payload
    return jwt.encode(payload, private, algorithm=algorithm, headers={"kid": kid})


def public_pem() -> bytes:
    return OURS.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hmac_signed_by(secret: bytes, payload: dict[str, Any], kid: str) -> str:
    """HS256 with what everybody may know; the library itself would not make it."""

    def part(value: Any) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    told = part({"alg": "HS256", "typ": "JWT", "kid": kid}) + b"." + part(payload)
    signature = base64.urlsafe_b64encode(hmac.new(secret, told, hashlib.sha256).digest()).rstrip(b"=")
    return (told + b"." + signature).decode()


def hmac_signed(secret: bytes) -> str:
    return hmac_signed_by(secret, {"account": "ann", "era": "r-1", "exp": 2000}, OURS.kid)


def test_what_was_signed_is_read() -> None:
    assert RING.read(RING.sign(CLAIMS), NOW) == CLAIMS
    machine = Claims("prometheus", "m-1", 2_000, machine=True)
    assert RING.read(RING.sign(machine), NOW) == machine


def test_the_token_says_what_other_programs_look_for() -> None:
    """Claims and header of api-rules.md 3.16."""
    token = RING.sign(Claims("ann", "r-1", 2_000, roles=("admin", "r")))
    assert jwt.get_unverified_header(token) == {"alg": "RS512", "kid": OURS.kid, "typ": "JWT"}
    payload = jwt.decode(token, options={"verify_signature": False})
    assert payload == {"account": "ann", "roles": ["admin", "r"], "era": "r-1", "exp": 2_000}


FORGED = {
    "another key": signed(private=ANOTHER.private),
    "another key under its own name": signed(private=ANOTHER.private, kid=ANOTHER.kid),
    "no algorithm": jwt.encode({"account": "ann", "era": "r-1", "exp": 2000}, "", algorithm="none"),
    "HS256 with the public key": hmac_signed(public_pem()),
    "HS256 with the public key, stripped": hmac_signed(public_pem().strip()),
    "RS256": signed(algorithm="RS256"),
    "PS512": signed(algorithm="PS512"),
    "no key name": jwt.encode({"account": "ann", "era": "r-1", "exp": 2000}, OURS.private, algorithm="RS512"),
    "truncated": signed()[:-8],
    "no signature": signed().rpartition(".")[0] + ".",
    "another payload": ".".join(
        [signed().split(".")[0], signed({"account": "root", "era": "r-1", "exp": 9}).split(".")[1], signed()[-342:]]
    ),
    "no account": signed({"era": "r-1", "exp": 2000}),
    "no era": signed({"account": "ann", "exp": 2000}),
    "no end": signed({"account": "ann", "era": "r-1"}),
    "an end that is no number": signed({"account": "ann", "era": "r-1", "exp": True}),
    "an account that is no text": signed({"account": ["ann"], "era": "r-1", "exp": 2000}),
    "empty": "",
    "no token": "abc",
    "three dots": "a.b.c",
    "too long": signed({"account": "ann", "era": "r-1", "exp": 2000, "pad": "x" * TOKEN_MAX}),
    "not ASCII": "é.é.é",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused(name: str) -> None:
    with pytest.raises(Unauthorized):
        RING.read(FORGED[name], NOW)


def test_a_token_ends_to_the_second() -> None:
    token = RING.sign(CLAIMS)
    assert RING.read(token, 1_999.9) == CLAIMS
    with pytest.raises(TokenExpired):
        RING.read(token, 2_000)


def test_the_newest_key_signs_and_the_older_ones_still_count() -> None:
    both = Keyring([OURS, ANOTHER])
    assert jwt.get_unverified_header(both.sign(CLAIMS))["kid"] == ANOTHER.kid
    assert both.read(RING.sign(CLAIMS), NOW) == CLAIMS
    with pytest.raises(Unauthorized):
        Keyring([ANOTHER]).read(RING.sign(CLAIMS), NOW)


def test_without_a_key_nothing_is_signed_or_believed() -> None:
    with pytest.raises(Unauthorized):
        Keyring([]).sign(CLAIMS)
    with pytest.raises(RegistryError):
        Keyring([]).read(RING.sign(CLAIMS), NOW)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_keys_are_read_in_both_forms(form: PrivateFormat) -> None:
    assert read_key(OURS.private.private_bytes(Encoding.PEM, form, NoEncryption())).kid == OURS.kid


def test_what_cannot_sign_is_refused_without_showing_it() -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    curve = ec.generate_private_key(ec.SECP256R1())
    pem = [one.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for one in (small, curve)]
    for bad in (*pem, public_pem(), b"", b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"):
        with pytest.raises(KeyUnusable) as told:
            read_key(bad)
        assert "c2VjcmV0" not in str(told.value)
