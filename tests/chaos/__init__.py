"""A chaos run: real replicas over a real Redis, clients over real HTTP, faults from a seed, and one checker for it all.

`scripts/chaos --seconds 60 --seed 7` runs it, `--check FILE` judges a recorded history once more, `--planted` shows
that planted bugs are found. The seed decides what is done and when, not how the processes take it: two runs of one
seed are alike, never the same.
Reading order: plan (which faults, when), proxy (the way to Redis), store (Redis and its copy), fleet (the replicas),
faults (what each of them does), client, providers, consumers, watchers (the workload), world (one run), judging,
report; bugs and planting (planted bugs, and what shows them).
"""
