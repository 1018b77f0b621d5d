"""Candidates from a gallery of geotagged photos: encoders, embeddings, indexes, and the search in them.

May import ``model``, ``tables`` and what lies below.
"""
