"""Rewards of a whole benchmark, what is fitted on them, and the report.

May import ``geo_ranker`` and what lies below.
"""
