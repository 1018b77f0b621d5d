"""A GeoRanker served by vLLM: the checkpoint that it takes, and the client that asks it for rewards.

``chat``, ``identity`` and ``reward_server`` do without torch. May import ``geo_ranker`` and what lies below.
"""
