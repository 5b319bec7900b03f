"""A client of the ServiceComb v4 API. It loads nothing of the server.

The core is functions of values: names, backoff, addresses, listing, registration, choosing, tokens.
"""
