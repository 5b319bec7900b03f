"""Drive one server with wrk: the lua scripts it runs, and what it counted.

wrk is a closed loop: every connection sends its next request when the last one is answered. Its latencies are therefore
those of a server that is kept saturated by that many connections, not those at a given rate.

A script may look at every reply (`checked`): that costs wrk a lot, so it is done in the warm-up only.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.errors import BenchmarkError
from benchmarks.wire import Address, Request

#: Digits in a request's body that a numbered script replaces by 1, 2, 3, ... of the same width.
NUMBER: Final = "0" * 10
REPLY_TIMEOUT_S: Final = 5

#: Requests rendered by one lua function, which may hold 65,536 constants.
_PIECE: Final = 5_000

_MARK: Final = "BENCH "
_WRONG_MARK: Final = "WRONG "
#: wrk tells its totals to `done`, exactly and once; the text it prints beside that is rounded. What a checking script
#: has collected lies in the environments of its threads.
_DONE: Final = f"""
local threads = {{}}
function setup(thread) threads[#threads + 1] = thread end
function done(summary, latency)
  local e = summary.errors
  local wrong, statuses = 0, {{}}
  for _, thread in ipairs(threads) do
    wrong = wrong + (thread:get("wrong") or 0)
    for status, count in pairs(thread:get("statuses") or {{}}) do
      statuses[#statuses + 1] = string.format('"%s":%d', status, count)
    end
    local first = thread:get("first_wrong")
    if first then print("{_WRONG_MARK}" .. first) end
  end
  print(string.format('{_MARK}{{"requests":%d,"bytes":%d,"duration_us":%d,' ..
    '"p50_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d,' ..
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"wrong":%d,"statuses":{{%s}}}}',
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max,
    e.connect, e.read, e.write, e.status, e.timeout, wrong, table.concat(statuses, ",")))
end
"""


@dataclass(frozen=True, slots=True)
class Expected:
    """What every reply of a scene must be."""

    status: int
    body: str | None
    """The usual body: right at a glance. None when every reply differs."""
    parts: Sequence[str] = ()
    """What a body that is not the usual one must hold, each of them; it is wrong when there are none."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What wrk counted in one run."""

    requests: int
    bytes: int
    duration_us: int
    p50_us: int
    p99_us: int
    p999_us: int
    max_us: int
    connect: int
    read: int
    write: int
    status: int
    """Replies with a status of 400 or above: wrk's `Non-2xx or 3xx responses`, to which a 304 does not belong."""
    timeout: int
    wrk_cpu_us: int
    """What wrk itself used: near `duration_us`, wrk was the limit and not the server."""
    wrong: int = 0
    """Replies that were not as expected; only a checking script counts them."""
    statuses: dict[str, int] = field(default_factory=dict)
    """Replies by status; only a checking script counts them."""
    first_wrong: str = ""

    @property
    def per_second(self) -> float:
        """Requests answered per second."""
        return self.requests * 1e6 / self.duration_us

    @property
    def bytes_per_reply(self) -> float:
        """Mean size of a reply with its head."""
        return self.bytes / self.requests

    @property
    def errors(self) -> dict[str, int]:
        """What went wrong during the load: how often; replies by status when they were looked at one by one."""
        found = {"neither 2xx nor 3xx": self.status, f"later than {REPLY_TIMEOUT_S} s": self.timeout}
        found |= {f"socket error ({kind})": getattr(self, kind) for kind in ("connect", "read", "write")}
        found |= {"wrong": self.wrong}
        if self.wrong:
            found |= {f"status {status}": count for status, count in self.statuses.items() if status >= "4"}
        return {what: count for what, count in found.items() if count}

    def problem(self) -> str | None:
        """The same in words; None when nothing went wrong."""
        if self.requests == 0:
            return "no request was answered"
        if not self.errors:
            return None
        first = f", the first wrong reply: {self.first_wrong}" if self.wrong else ""
        return f"{', '.join(f'{count} × {what}' for what, count in self.errors.items())} of {self.requests}{first}"


def same_request(request: Request) -> str:
    """A script that repeats one request; it has no `request` function, so wrk renders it once and runs no lua then."""
    headers = "".join(f"wrk.headers[ {_quoted(name)} ] = {_quoted(value)}\n" for name, value in request.headers.items())
    body = "nil" if request.body is None else _quoted(request.body)
    return f"""
wrk.method, wrk.path, wrk.body = {_quoted(request.method)}, {_quoted(request.path)}, {body}
{headers}{_DONE}"""


def one_of_many(requests: Sequence[Request]) -> str:
    """A script that goes round a list of requests, all rendered before the load."""
    lines = [f"  many[#many + 1] = wrk.format({_arguments(request)})" for request in requests]
    pieces = ["\n".join(lines[start : start + _PIECE]) for start in range(0, len(lines), _PIECE)]
    rendering = "\n".join(f"pieces[#pieces + 1] = function()\n{piece}\nend" for piece in pieces)
    return f"""
local many, pieces, number = {{}}, {{}}, 0
{rendering}
function init()
  for _, piece in ipairs(pieces) do piece() end
end
function request()
  number = number % #many + 1
  return many[number]
end
{_DONE}"""


def numbered_request(request: Request) -> str:
    """A script in which every request differs from all before it in the digits of `NUMBER`."""
    assert any(NUMBER in text for text in (request.path, request.body or "", *request.headers.values()))
    return f"""
local parts, number = {{}}, 0
function init()
  local text, from = wrk.format({_arguments(request)}), 1
  while true do
    local at = text:find("{NUMBER}", from, true)
    if not at then break end
    parts[#parts + 1] = text:sub(from, at - 1)
    from = at + {len(NUMBER)}
  end
  parts[#parts + 1] = text:sub(from)
end
function request()
  number = number + 1
  return table.concat(parts, string.format("%0{len(NUMBER)}d", number))
end
{_DONE}"""


def checked(script: str, expected: Expected) -> str:
    """The same script, looking at every reply."""
    parts = ",".join(_quoted(part) for part in expected.parts)
    return f"""{script}
wrong, statuses, first_wrong = 0, {{}}, nil
local usual, parts = {"nil" if expected.body is None else _quoted(expected.body)}, {{{parts}}}
local function is_right(status, body)
  if status ~= {expected.status} then return false end
  if body == usual then return true end
  if #parts == 0 or (usual and #body ~= #usual) then return false end
  for _, part in ipairs(parts) do
    if not body:find(part, 1, true) then return false end
  end
  return true
end
function response(status, headers, body)
  statuses[tostring(status)] = (statuses[tostring(status)] or 0) + 1
  if is_right(status, body) then return end
  wrong = wrong + 1
  first_wrong = first_wrong or ("status " .. status .. ", body " .. body:sub(1, 200):gsub("%c", "?"))
end
"""


def run(address: Address, script: Path, connections: int, seconds: int) -> Counted:
    """Load a server for some seconds from one wrk thread."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"--timeout={REPLY_TIMEOUT_S}s"]
    before_us = _children_us()
    done = subprocess.run(
        [*command, "-s", str(script), address.url], capture_output=True, text=True, check=False, timeout=seconds + 60
    )
    used_us = _children_us() - before_us
    first_wrong = ""
    for line in done.stdout.splitlines():
        if line.startswith(_WRONG_MARK):
            first_wrong = line.removeprefix(_WRONG_MARK)
        if line.startswith(_MARK):
            counted = json.loads(line.removeprefix(_MARK))
            return Counted(**counted, wrk_cpu_us=used_us, first_wrong=first_wrong)
    raise BenchmarkError(f"wrk could not run against {address.url}: {(done.stderr or done.stdout).strip()[-500:]}")


def require() -> None:
    """Say how to get wrk where it is missing."""
    if shutil.which("wrk") is None:
        raise BenchmarkError("wrk is not on the PATH; install it (Debian and Ubuntu: apt-get install wrk).")


def _children_us() -> int:
    """Processor time of the children that have ended: between two readings around one child, that child's."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((usage.ru_utime + usage.ru_stime) * 1e6)


def _arguments(request: Request) -> str:
    headers = "".join(f"[ {_quoted(name)} ] = {_quoted(value)}," for name, value in request.headers.items())
    body = "nil" if request.body is None else _quoted(request.body)
    return f"{_quoted(request.method)}, {_quoted(request.path)}, {{{headers}}}, {body}"


def _quoted(text: str) -> str:
    """A lua long string. Between square brackets it needs a space on each side, or lua reads their end into it."""
    assert "]=]" not in text
    return f"[=[{text}]=]"
