"""What the benchmarks of the same names do once their command line is read: these modules load torch or faiss.

May import ``benchmarks`` and ``utils``, but no command.
"""
