"""Pictures of results, drawn by matplotlib without global state.

May import ``geography`` and ``jobs``.
"""
