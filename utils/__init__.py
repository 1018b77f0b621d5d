"""The library behind the scripts: one concept a file, and no file here imports a script."""
