"""The proxy in every pod: decides per request whether this pod's app, a branch's version or a
developer's laptop answers.

Law of the room: serve at once and whatever happens. Without a manager the last good routes hold,
without any routes the app beside us answers. Nothing is imported that a pod does not need: no
database, no templates, no Kubernetes client, no command-line framework.
"""
