"""What a ranker is made of: prompts, packing, checkpoints, adapters, features of photos.

``prompts``, ``sharing``, ``adapter_info``, ``budget``, ``fingerprints`` and ``readable`` do without torch, so that
scripts can check their flags by them. May import ``candidates``, ``photos`` and what lies below.
"""
