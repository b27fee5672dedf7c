"""The demo's checks, by subject. Each is a coroutine that gets a `Scene` and says what it saw."""
