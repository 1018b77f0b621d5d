"""Photo files: decoding, EXIF, and stores that find a photo by its id in folders, tars and zips.

May import ``geography`` and ``jobs``; never torch.
"""
