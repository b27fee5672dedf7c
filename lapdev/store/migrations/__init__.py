"""How a database gets from any earlier schema to the newest. Migrations never import `tables`:
each says what was true when it was written.
"""
