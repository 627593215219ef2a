"""Cells trained by Ray's workers, which Ray places on machines and starts again when they are lost.

`worker` trains a cell where Ray puts it, `cluster` hands out the jobs, and `task` is the search as the loop runs it.
"""
