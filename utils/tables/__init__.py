"""The tables of the released system, one format a file, and what joins them.

May import ``candidates``, ``geography`` and ``jobs``; never torch.
"""
