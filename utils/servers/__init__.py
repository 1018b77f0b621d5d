"""Asking servers: requests bounded in time and size and repeated, keys masked, many at a time.

Does without torch. May import ``jobs``.
"""
