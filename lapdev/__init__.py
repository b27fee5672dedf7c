"""Preview URLs, branch environments and laptop intercepts for microservices."""

__version__ = "0.1.0"
