"""Places on the Earth: distances, the nearest town, and coordinates in the answers of language models.

Imports numpy, scipy and pandas, and nothing of this project.
"""
