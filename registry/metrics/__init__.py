"""Metrics: what a replica has to say of itself in numbers, and the text in which it is asked for them."""
