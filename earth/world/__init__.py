"""The embedded world: imagery, where its tiles lie, how its photos see them, and the files they go into.

May import ``earth.recipe`` and ``utils``.
"""
