"""Reports and pictures of a run, made from its workdir alone.

Read `run` first: the report of a search or a training. `document` is what a report is made of, `cell` draws a cell
(`cell_layout` and `cell_routes` place it), `curves` draws losses and probabilities, `history` a strategy's queries.
"""
