"""The library behind the scripts, one noun a package, and the main path at its root.

``candidates.py`` (what is ranked) -> ``geo_ranker.py`` (the model) -> ``decoding.py`` (what its rewards mean);
``data_paths.py`` knows where the files of the benchmarks lie. ``docs/architecture.md`` is the map. Imports run one way
(``[tool.importlinter]`` in pyproject.toml), no file here imports a script, and none but ``cli/`` parses flags.
"""
