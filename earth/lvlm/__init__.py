"""The tiny vision-language model of the embedded world and its three pretrainings.

May import ``earth.recipe``, ``earth.world`` and ``utils``. The commands ``pretrain_*`` are imported by nothing.
"""
