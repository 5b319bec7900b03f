"""Mutations: what becomes of a request on its way from a client that is broken, or wants to break us."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

Mutation = Callable[[bytes, Random], bytes]

#: What parsers have stumbled over.
BITS: Final = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\x00",
        b" ",
        b"\t",
        b":",
        b"\r\n\r\n",
        b"\n\n",
        b"\xff",
        b"\xc0\x80",
        b"%00",
        b"%",
        b"?",
    ),
    *(b"&", b"//", b"/../", b"#", b"@", b";", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 0\r\n"),
    *(b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1\r\n", b"Content-Length: 5, 6\r\n"),
    *(b"Host: h\r\n", b"Host: other\r\n", b" folded\r\n", b"Upgrade: h2c\r\n", b"Connection: close\r\n"),
    *(b"HTTP/0.9", b"HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n"),
    *(b"{", b"}", b"[" * 2000, b'"', b"\\u0000", b"\\ud800", b"1e999", b"null", b'{"":', b"\xef\xbb\xbf"),
)


def flip(data: bytes, random: Random) -> bytes:
    """Some bytes are others."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def insert(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(BITS) + data[at:]


def cut(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + data[at + random.choice((1, 2, 10, 100)) :]


def repeat(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data))
    piece = data[at : at + random.choice((1, 10, 50))]
    return data[:at] + piece * random.choice((2, 3, 50)) + data[at:]


def end(data: bytes, random: Random) -> bytes:
    """The client goes in the middle."""
    return data[: random.randrange(len(data))]


def swap(data: bytes, random: Random) -> bytes:
    """Two header lines change places, or one goes elsewhere."""
    lines = data.split(b"\r\n")
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def bare(data: bytes, random: Random) -> bytes:
    """Lines end in one character, as in text files."""
    return data.replace(b"\r\n", random.choice((b"\n", b"\r", b"\r\r\n")), random.choice((1, -1)))


def chunk(data: bytes, random: Random) -> bytes:
    """The body comes in chunks, of which not all are right."""
    head, _, content = data.partition(b"\r\n\r\n")
    head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length"))
    size = b"%x" % len(content)
    if random.random() < 0.3:
        size = random.choice((b"", b"-1", b"0x10", b"fffffffff", b"%x;a=b" % len(content), b"%x" % (len(content) + 3)))
    parts = (head, b"\r\nTransfer-Encoding: chunked\r\n\r\n", size, b"\r\n", content, b"\r\n0\r\n")
    return b"".join(parts) + random.choice((b"\r\n", b"\r\n", b"Trailer: x\r\n\r\n", b""))


def pad(data: bytes, random: Random) -> bytes:
    """Many headers, or a large one."""
    at = data.find(b"\r\n") + 2
    more = random.choice((b"X-Pad: " + b"x" * random.choice((100, 8_000, 40_000)) + b"\r\n", b"X-P: y\r\n" * 250))
    return data[:at] + more + data[at:] if at > 1 else data + more


def old(data: bytes, random: Random) -> bytes:
    return data.replace(b"HTTP/1.1", random.choice((b"HTTP/1.0", b"HTTP/1.2", b"HTTP/11", b"http/1.1", b"")), 1)


def absolute(data: bytes, random: Random) -> bytes:
    return data.replace(b" /", random.choice((b" http://h/", b" https://", b" h:80/", b" *", b" //")), 1)


def junk(data: bytes, random: Random) -> bytes:
    return random.randbytes(random.choice((1, 10, 1000)))


MUTATIONS: Final[tuple[Mutation, ...]] = (
    *(flip, insert, cut, repeat, end, swap, bare, chunk, pad, old, absolute, junk, flip, insert),
)


def mutate(data: bytes, random: Random) -> bytes:
    """One mutation or several."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if data:
            data = random.choice(MUTATIONS)(data, random)
    return data
