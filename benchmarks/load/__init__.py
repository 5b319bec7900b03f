"""Our own load client: sends on time, counts from the intended moment, checks every answer.

Reading order: `ticker` (wakes often enough), `connection` (one request at a time), `record` (what is kept of an
answer), `driver` (a schedule of calls over many connections), `schedules` (when to send what), `ticks` (how long does
a server pause?), `pacer` (few kinds of request at a steady rate, for half the price), `fleet` (several processes),
`watcher` (websockets).
"""
