"""Places on the Earth: distances, the nearest town, and coordinates in the answers of language models.

Imports numpy, scipy, pandas and geopy, and nothing of this project.
"""
