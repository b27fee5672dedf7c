"""Becomes the search service: the one for Node where `node` exists, else the one in Python."""

import os
import shutil
import sys
from pathlib import Path

here = Path(__file__).parent
node = shutil.which("node")
if node and os.environ.get("SEARCH_RUNTIME", "node") == "node":
    os.execv(node, [node, str(here / "search.mjs")])
os.execv(sys.executable, [sys.executable, str(here / "search.py")])
