"""Several searches as one program; each search has its folder in the workdir."""
