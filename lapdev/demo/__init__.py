"""The demo: a small shop on the embedded mode, set up through the API as a user would, and checked.

The shop's own programs are in `apps/`; they are data to lapdev, and know nothing of it.
"""
