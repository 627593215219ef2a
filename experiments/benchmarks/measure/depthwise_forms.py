"""Times the forms of depthwise convolutions on this machine's device, and prints the seconds as a line of JSON.

`accelerator.py` starts this process. Each form runs forward and backward, with the gradients of input and kernel:

* dilated: the library's convolution with the library's dilation (`kernels.depthwise.dilated_depthwise_conv`).
* by_phases: the library's convolution on the phases of the input (`kernels.depthwise.library_depthwise_conv`).
* shifts: a sum of shifted products, which CPUs use, with jax's derivative.
* dense: the library's convolution with the dilated kernel written out, with zeros between the taps.
"""

import functools
import json
import sys
import time

import jax
import jax.numpy as jnp
from jax import lax

from measure.on_device import alone
from nge_jax.kernels import depthwise, shifted_sums

ROUNDS = 20


def dense(x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> jax.Array:
    reach = (kernel.shape[0] - 1) * dilation + 1
    spread = jnp.zeros((reach, reach, x.shape[-1]), kernel.dtype)
    spread = spread.at[::dilation, ::dilation].set(kernel)
    return depthwise.library_depthwise_conv(x, spread, stride)


FORMS = {
    "dilated": depthwise.dilated_depthwise_conv,
    "by_phases": depthwise.library_depthwise_conv,
    "shifts": shifted_sums.convolve,
    "dense": dense,
}


def main() -> None:
    request = json.loads(sys.argv[1])
    times = []
    for case in request["cases"]:
        *shape, dtype = case
        dilation = shape[4]
        # Without dilation, three of the forms are the same.
        names = [name for name in request["forms"] if dilation > 1 or name in ("dilated", "shifts")]
        found = {name: seconds(FORMS[name], *shape, dtype, request["lock"]) for name in names}
        times.append((case, [found.get(name) for name in request["forms"]]))
    print(json.dumps({"times": times}))


def seconds(form, batch, size, channels, kernel, dilation, stride, dtype, lock) -> float:
    """Times a form forward and backward in a loop on the device. Each round waits for the round before."""
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (batch, size, size, channels), dtype)
    taps = jax.random.normal(keys[1], (kernel, kernel, channels), dtype)
    convolve = functools.partial(form, stride=stride, dilation=dilation)

    def once(x, taps):
        y, pull = jax.vjp(convolve, x, taps)
        # Without the barrier, XLA would drop a result that the gradient does not depend on.
        return pull(lax.optimization_barrier(y))

    @jax.jit
    def run(x, taps):
        def again(_, carry):
            x, taps, _ = carry
            return lax.optimization_barrier((x, taps, once(x, taps)))

        return lax.fori_loop(0, ROUNDS, again, (x, taps, once(x, taps)))[2]

    jax.block_until_ready(run(x, taps))
    times = []
    with alone(lock):
        for _ in range(4):
            begin = time.monotonic()
            jax.block_until_ready(run(x, taps))
            times.append((time.monotonic() - begin) / (ROUNDS + 1))
    return min(times)


if __name__ == "__main__":
    main()
