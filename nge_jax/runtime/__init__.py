"""The loop that every task runs, and the checkpoints that the loop writes."""
