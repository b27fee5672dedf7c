"""The cloud: previews for browsers, tunnels for the other roles, the API for people.

The edge is the only place that mints routing identity, and strips what it did not mint. Every
tunnel authenticates, and every stream it opens is checked against what that identity may reach.
"""
