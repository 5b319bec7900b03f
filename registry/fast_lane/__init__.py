"""The fast lane: hot requests answered from the HTTP parser's callbacks, without scope, header list or task.

It takes only what it fully understands and hands everything else, untouched, to the ASGI application, which answers
every route by itself. It may never answer differently: tests/api/test_lanes.py and test_known_heads.py send the same
bytes through both.
"""
