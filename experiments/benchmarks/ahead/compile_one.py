"""Compiles one program for one chip in a separate process, and prints time and figures as a line of JSON.

`compile_ahead.py` starts this process with the environment that the chip's compiler needs.
"""

import json
import sys
import time
from collections import Counter

from ahead import chips
from ahead.kernels import list_kernels
from ahead.programs import PROGRAMS, Size


def main() -> None:
    chip, program, devices, seeds, size = json.loads(sys.argv[1])
    built = PROGRAMS[program](Size(**size)).of_seeds(seeds)
    begin = time.monotonic()
    lowered = built.trace(chips.devices(chip, devices)).lower()
    traced = time.monotonic()
    compiled = lowered.compile()
    figures = {"trace_s": traced - begin, "compile_s": time.monotonic() - traced}
    kernels = list_kernels(compiled.as_text())
    counts = Counter()
    for kernel in kernels:
        counts[kernel.kind] += kernel.times
    least = [k.times * chips.CHIPS[chip].seconds(k.flops, k.nbytes, k.dtype) for k in kernels]
    figures |= {
        "temp_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "kernels": counts,
        "flops": sum(k.times * k.flops for k in kernels),
        "bytes": sum(k.times * k.nbytes for k in kernels),
        "step_s": sum(least),
        "cycles": sum(k.times * k.cycles for k in kernels),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
