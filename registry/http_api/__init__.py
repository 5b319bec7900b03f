"""The v4 REST API: decode a request, call one use case, encode its answer. Nothing is decided here."""
