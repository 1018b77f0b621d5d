"""Places on the Earth: distances, towns, coastlines, and coordinates in the answers of language models.

Imports numpy, scipy, pandas and geopy, and nothing of this project.
"""
