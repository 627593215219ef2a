"""Neural Graph Embedding for neural architecture search (AAAI 2020), in JAX."""
