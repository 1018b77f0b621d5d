"""What a benchmark has in common with a gallery: shared owners and ids, near-duplicate photos, placeholders.

May import ``retrieval``, ``tables``, ``photos`` and what lies below.
"""
