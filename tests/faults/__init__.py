"""Fault injection: real processes under load, faults in the network and in the processes between.

`python -m tests.faults F6 --seed 7`; docs/reliability.md tells what is broken and what must hold.
"""
