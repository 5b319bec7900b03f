"""Load harness: requests per second of the registry, beside a bare uvicorn app on the same machine."""
