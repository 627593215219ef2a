"""The folder that a run leaves behind. Read `artifacts` first: it has the files and their readers.

`folder` decides which run may use a workdir, and `lock` keeps other processes out. `recorded` reads a run's config.
"""
