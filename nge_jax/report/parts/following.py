"""The commands that follow a training: what its network is for."""

import shlex
from pathlib import Path


def commands(run: str, *, segments: bool = False, network: str = "") -> list[str]:
    """Returns the commands by which a trained network is used, exported, timed and compared.

    Args:
      run: the workdir, as the commands are to name it.
      segments: whether the network segments images, whose predictions are a folder of pictures.
      network: the folder of the network within the workdir of another task, which is not compared with trainings;
        empty: the workdir is the training's.
    """
    name, exported = shlex.quote(str(Path(run, network))), shlex.quote(f"{run}-exported")
    output = " --output=masks" if segments else ""
    use = [
        f"nge predict {name} IMAGES ...{output}",
        f"nge export {name} {exported} --formats=onnx",
        f"nge latency {name}",
    ]
    return use if network else [*use, f"nge compare {name} OTHER_RUN ... --html=compare.html"]


def lines(run: str, *, segments: bool = False, network: str = "") -> list[str]:
    """Returns the lines that a run prints at its end; the arguments are those of `commands`."""
    first, *others = commands(run, segments=segments, network=network)
    return [f"next: {first}", *(f"      {other}" for other in others)]
