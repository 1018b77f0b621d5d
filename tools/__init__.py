"""Commands that are no step of the workflow, run as ``python -m tools.NAME``.

They may import all of ``utils``; nothing imports them.
"""
