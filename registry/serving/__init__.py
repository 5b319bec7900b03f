"""serving: from the socket to the application and back. Connections, HTTP/1.1 and websockets, time-outs, back-pressure.

Reading order: shared (what all connections have in common), connection (one client), exchange (one request as ASGI),
websocket (a connection that became a websocket), hot (requests answered from their bytes).
"""
