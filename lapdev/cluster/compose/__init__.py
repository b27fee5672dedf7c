"""Compose projects as ordinary Kubernetes objects: all containers in one pod, on one localhost.

Implements the Compose specification as far as it has a meaning for processes in one pod. Pure:
texts and what `Files` reads go in, plain objects come out, every mistake is a `ConfigError` that
names file, line and path.
"""

from lapdev.cluster.compose.conversion import Conversion, convert
from lapdev.cluster.compose.loading import Source
from lapdev.cluster.compose.sources import Files

__all__ = ["Conversion", "Files", "Source", "convert"]
