"""Training a ranker: GeoRanking rows, groups drawn from them, the loss, the Trainer.

May import everything but ``cli``.
"""
