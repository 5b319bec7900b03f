"""Deterministic simulation: several replicas over one store in memory, in virtual time, with faults, from one seed.

Reading order: virtual_time, process, store_host, faulty_store, replica, faults, recorder, client, instances, consumers,
watchers, world, judging. `python -m tests.simulation SEED [PROFILE]` replays one seed; `tests.support.checker` judges
what came of it; `planted` holds the bugs that show that it can see.
"""
