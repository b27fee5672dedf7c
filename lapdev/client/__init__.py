"""The client room: the REST client and the commands that use nothing else.

Law: what a command shows comes from the API; nothing here imports a role, a store or a tunnel.
Modules are imported when their command is chosen.
"""
