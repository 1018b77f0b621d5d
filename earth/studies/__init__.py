"""Questions answered on the embedded world, each a command whose figures are kept in docs/earth.

May import all of ``earth`` and ``utils``.
"""
