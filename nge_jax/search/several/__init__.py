"""Several searches as one program, each with a folder of its own in the workdir."""
