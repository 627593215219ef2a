"""Reports and pictures of a run, made from its workdir alone.

Read `search` and `train` first: a report each, made with what both share in `run`; `history` adds a strategy's queries.
`document` is what a report is made of, `templates/` what it looks like. `figure` has the colors and the style of all
pictures, `cell` draws a cell (`cell_layout` and `cell_routes` place it), `curves` draws losses and probabilities.
"""
