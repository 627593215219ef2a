"""The folder that a run leaves behind. Read `artifacts` first: the files and their readers.

`folder` decides whose a workdir is, `lock` keeps other processes out, `recorded` reads the config that a run had.
"""
