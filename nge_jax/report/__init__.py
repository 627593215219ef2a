"""Reports and pictures of a run, made from its workdir alone.

Read `search` and `train` first: each writes one report, with the shared parts in `run`. `history` adds a strategy's
queries. `document` holds a report's sections, and `templates/` their HTML. `figure` has the colors and the style of all
pictures. `cell` draws a cell, which `cell_layout` and `cell_routes` place. `curves` draws losses and probabilities.
"""
