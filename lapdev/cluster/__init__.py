"""Where pods run: the driver contract, Kubernetes manifests, and the driver for this machine.

The room knows no environment kinds, no branches and no cloud: it is told what should exist in a
namespace and makes it so. This door stays without imports: `enter` and `pause` pass through it on
the way of every process a pod starts.
"""
