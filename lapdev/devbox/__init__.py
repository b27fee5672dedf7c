"""The laptop's end: in-cluster services by name, and local programs in place of workloads.

Nothing here decides what a device may reach; the cloud and the manager check every stream. The
session's names (`hosts`) are pure; only `outlet` and `proxy` touch sockets of the laptop.
"""
