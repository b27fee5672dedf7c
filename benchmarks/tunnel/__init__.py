"""The tunnel beside others: ssh -R, chisel, frp, rathole. `python -m benchmarks tunnel --help`."""
