"""The manager role: one cluster's environments, from what the cloud wants to what runs.

`plan` decides (pure), `reconciler` and `namespace` make it so through a driver, `sidecars` keeps
every pod's routes current, `streams` dials services for the cloud, `cloud_link` speaks with the
cloud, `app` wires them. The manager never parses the traffic of an environment.
"""
