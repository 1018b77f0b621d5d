"""The tiny vision-language model of the embedded world and its three pretrainings.

May import ``earth.world`` and ``utils``.
"""
