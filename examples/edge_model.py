"""An edge model of one's own: a graph attention layer (Velickovic et al., ICLR 2018) embeds a cell's nodes.

    nge search search_digits:gradient,smoke search.edge_model=edge_model.py:gat gat.slope=0.1

The package adds the edge MLP and the classifier. `python edge_model.py` checks it.
"""

import jax
import jax.numpy as jnp

import nge_jax as nge

# An edge model's numbers are constants of the programs.
SLOPE = nge.Key(
    "gat.slope", 0.2, nge.Limits(float, 0, 1), "GAT", "Slope of the leaky ReLU below 0."
)
WIDTH = 64  # of the nodes' vectors


def make(space, numbers, head):
    """Makes the edge model of a space; `head` makes it from the two functions below."""
    # A node attends to itself and to the nodes that have an edge to it.
    mask = jnp.eye(space.num_nodes, dtype=bool)
    for source, target in space.edges:
        mask = mask.at[target, source].set(True)

    def init(key):
        key_w, key_a = jax.random.split(key)
        w = jax.random.normal(key_w, (WIDTH, WIDTH)) * WIDTH**-0.5
        return {"w": w, "a": jax.random.normal(key_a, (WIDTH, 2)) * WIDTH**-0.5}

    def embed(x, theta):  # X [cell type, node, 64] -> Z of the same shape
        h = x @ theta["w"]
        scores = h @ theta["a"]
        scores = scores[..., :, None, 0] + scores[..., None, :, 1]
        scores = jax.nn.leaky_relu(scores, numbers["slope"])
        attention = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf))
        return jax.nn.elu(attention @ h)

    return head(init, embed)


gat = nge.Part(make, keys=(SLOPE,))


if __name__ == "__main__":
    nge.testing.check_edge_model(gat)
    nge.testing.check_edge_model(gat, betas=True)  # for search.relaxation=partial
    print("the edge model is right")
