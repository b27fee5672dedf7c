"""Facts to decisions: which version of a workload answers, and what a preview host means.

Law of the room: no clock, no socket, no log. A decision is one or two dictionary look-ups however
many branches or previews there are; all work is done when a snapshot arrives.
"""
