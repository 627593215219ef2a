"""A relaxation of one's own: a softmax whose temperature falls, so that a search ends in a choice.

    nge search search_digits:gradient,smoke search.relaxation=relaxation.py:annealed annealed.last=0.2

`python relaxation.py` checks it, also beside a reference in NumPy.
"""

import jax
import numpy as np

import nge_jax as nge

# The part's numbers are keys of the config, with limits. in_program=False: another value compiles nothing anew.
TEMPERATURE = nge.Limits(float, 0.01, 100)
FIRST = nge.Key("annealed.first", 2.0, TEMPERATURE, "", "First temperature.", in_program=False)
LAST = nge.Key("annealed.last", 0.5, TEMPERATURE, "", "Last temperature.", in_program=False)


def make(space, numbers):
    """Makes the relaxation for a space; numbers: {"first": ..., "last": ...}."""
    del space  # any space will do

    def temperature(progress):  # 0 in the first epoch, 1 in the last
        return numbers["first"] + (numbers["last"] - numbers["first"]) * progress

    def mix(scores, key, progress):  # scores.probs and scores.logits [cell type, edge, operation]
        del key  # nothing is drawn
        return jax.nn.softmax(scores.logits / temperature(progress))

    return nge.RelaxationRule(mix, record=lambda progress: {"temperature": temperature(progress)})


annealed = nge.Part(make, keys=(FIRST, LAST))


def reference(logits, key, progress, numbers):
    """Computes the same in NumPy."""
    temperature = (1 - progress) * numbers["first"] + progress * numbers["last"]
    powers = np.exp((logits - logits.max(-1, keepdims=True)) / temperature)
    return powers / powers.sum(-1, keepdims=True)


if __name__ == "__main__":
    nge.testing.check_relaxation(annealed, reference=reference)
    print("the relaxation is right")
