"""Three schedules that compute the same sums of a mixed cell's edges.

Read `reference` first: the sums as the paper writes them. `grouped` is fast on GPUs and TPUs. `looped` is fast on CPUs;
`looped_edge` computes one of its edges, and `looped_gradient` differentiates that edge.
"""
