"""The embedded world: imagery, where its tiles lie, how its photos see them. May import ``utils``."""
