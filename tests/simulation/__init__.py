"""Deterministic simulation: several replicas over one store in memory, in virtual time, with faults, from one seed.

Reading order: virtual_time, process, store_host, faulty_store, replica, faults, recorder, instances, consumers,
watchers, world. `python -m tests.simulation --seed N` replays one seed; `tests.support.checker` judges what came of it.
"""
