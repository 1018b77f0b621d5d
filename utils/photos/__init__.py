"""Photo files: decoding, EXIF, and stores that find a photo by its id in folders and tar archives.

May import ``geography`` and ``jobs``; never torch.
"""
