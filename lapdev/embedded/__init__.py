"""`lapdev serve --role all`: one supervisor with cloud and manager as its children.

Wiring only: it makes tokens, sockets and directories, starts the two roles with ordinary flags
and starts them again when they die. It knows nothing of what they do, and imports neither.
"""

from lapdev.embedded.supervisor import Supervisor, run

__all__ = ["Supervisor", "run"]
