"""Ranking one photo or a folder of photos: a person's own, or a benchmark's.

May import ``geo_ranker``, ``retrieval``, ``generation`` and what lies below.
"""
