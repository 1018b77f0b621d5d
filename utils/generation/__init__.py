"""Candidates from the guesses of a vision-language model: on this machine, or behind a server.

May import ``model`` and what lies below. ``api`` does without torch.
"""
