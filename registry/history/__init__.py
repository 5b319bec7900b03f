"""history: what happened, when and why, and what the registry was at any moment that the log still reaches."""
