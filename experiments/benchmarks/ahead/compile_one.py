"""Compiles one program for one chip in a separate process, and prints time and figures as a line of JSON.

`compile_ahead.py` starts this process with the environment that the chip's compiler needs.
"""

import json
import re
import sys
import time
from collections import Counter

from ahead import chips
from ahead.kernels import ONE_IMAGE, list_kernels
from ahead.launches import DEFAULT, count_launches
from ahead.programs import PROGRAMS, SEARCHES, Size
from nge_jax.devices import parallel


def main() -> None:
    chip, program, devices, count, size = json.loads(sys.argv[1])
    built = PROGRAMS[program](Size(**size)).side_by_side(count)
    begin = time.monotonic()
    lowered = built.trace(chips.devices(chip, devices)).lower()
    traced = time.monotonic()
    described = chips.CHIPS[chip]
    on_gpu = described.platform == "cuda"
    options = parallel.GPU_OPTIONS if on_gpu and program in SEARCHES else None
    compiled = lowered.compile(compiler_options=options)
    figures = {"trace_s": traced - begin, "compile_s": time.monotonic() - traced}
    text = compiled.as_text()
    kernels = list_kernels(text)
    counts = Counter()
    for kernel in kernels:
        counts[kernel.kind] += kernel.times
    launches = count_launches(text, options or DEFAULT) if on_gpu else 0
    seconds = sum(k.times * described.seconds(k) for k in kernels)
    figures |= {
        "temp_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "kernels": counts,
        "flops": sum(k.times * k.flops for k in kernels),
        "bytes": sum(k.times * k.nbytes for k in kernels),
        "least_s": sum(k.times * described.least(k) for k in kernels),
        "launches": launches,
        "step_s": seconds + launches * described.host_launch,
        "one_image": sum(k.times for k in kernels if k.form == ONE_IMAGE),
        "scatters": len(re.findall(r" scatter\(", text)),
        "cycles": sum(k.times * k.cycles for k in kernels),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
