"""The commands that follow a training: what its network is for."""

import shlex


def commands(run: str, *, segments: bool = False) -> list[str]:
    """Returns the commands by which a trained network is used, exported, timed and compared.

    Args:
      run: the workdir, as the commands are to name it.
      segments: whether the network segments images, whose predictions are a folder of pictures.
    """
    name, exported = shlex.quote(run), shlex.quote(f"{run}-exported")
    output = " --output=masks" if segments else ""
    return [
        f"nge predict {name} IMAGES ...{output}",
        f"nge export {name} {exported} --formats=onnx",
        f"nge latency {name}",
        f"nge compare {name} OTHER_RUN ... --html=compare.html",
    ]


def lines(run: str, *, segments: bool = False) -> list[str]:
    """Returns the lines that a training prints at its end."""
    first, *others = commands(run, segments=segments)
    return [f"next: {first}", *(f"      {other}" for other in others)]
