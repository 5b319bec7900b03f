"""A chaos run: real replicas over a real Redis, clients over real HTTP, faults from a seed, and one checker for it all.

`scripts/chaos --seconds 60 --seed 7` runs it, `scripts/chaos --check FILE` judges a recorded history once more.
Reading order: plan (which faults, when), proxy (the way to Redis), store (Redis and its copy), fleet (the replicas),
faults (what each of them does), client, providers, consumers (the workload), world (one run), report, bugs (planted).
"""
