"""The commands of `nge` that run no task: they read runs, cells and configs. `nge_jax.cli` calls them.

Each command imports its modules when it runs: help and mistakes are answered at once, without JAX.
"""

import argparse
import ast
import re
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nge_jax.errors import InputError, arguments_as, suggestions

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from nge_jax.workdir.artifacts import Size

PICTURES = (".svg", ".png", ".pdf")
# Parameters and multiply-adds of each published cell for CIFAR-10, then for ImageNet. Counting takes a second or two
# a cell, so experiments/cell_sizes.py writes this table.
CELL_SIZES = {
    "DARTS_V1": (3_169_414, 500_987_520, 4_510_432, 505_864_704),
    "DARTS_V2": (3_349_342, 528_359_040, 4_718_752, 529_911_552),
    "PC_DARTS_cifar": (3_634_678, 556_670_592, 5_270_560, 571_137_408),
    "PC_DARTS_image": (3_721_510, 570_466_944, 5_342_464, 581_627_328),
    "PDARTS": (3_433_798, 532_174_464, 4_944_352, 542_819_328),
    "ENASNet": (4_020_166, 622_142_496, 5_908_768, 630_336_384),
    "MdeNAS": (3_783_286, 599_110_272, 5_325_760, 595_513_536),
    "SNAS_mild": (2_661_382, 422_218_368, 3_939_328, 438_042_432),
    "SNAS_moderate": (2_847_358, 440_687_232, 4_312_576, 465_607_872),
    "SNAS_aggressive": (2_313_622, 374_912_640, 3_561_952, 395_715_840),
    "GDAS_V1": (3_368_782, 519_428_736, 4_969_216, 537_597_888),
    "DrNAS_cifar10": (4_099_294, 635_135_616, 5_738_464, 633_832_320),
    "DrNAS_imagenet": (4_048_750, 617_938_560, 5_726_368, 624_405_504),
}


class Parser(argparse.ArgumentParser):
    """Parses a command's arguments and refuses a mistake in one line, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        if flag := re.match("unrecognized arguments: (--[^ =]+)", message):
            known = [name for name in self._option_string_actions if name.startswith("--")]
            raise InputError(f"unknown option {flag[1]}{suggestions(flag[1], known)}")
        raise InputError(f"{message} (see {self.prog} --help)")


def make_parser(command: str, description: str, **options) -> Parser:
    """Makes the parser of `nge COMMAND`; options: as of `argparse.ArgumentParser`."""
    return Parser(prog=f"nge {command}", description=description, allow_abbrev=False, **options)


def _evaluate(arguments: list[str]) -> None:
    from nge_jax.predict import options
    from nge_jax.workdir import artifacts

    parser = make_parser(
        "eval",
        "Tests the network of a training's checkpoint again, or an exported ONNX file.",
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        type=Path,
        help="the run's workdir, digits:pretrained, or a file that nge export has written, such as network.onnx",
    )
    parser.add_argument("--data", metavar="DIR", help="folder of the data sets, if it has moved")
    options.add_checkpoint(parser)
    given = parser.parse_args(arguments)
    if given.run.suffix == ".onnx":
        if given.checkpoint != artifacts.NEWEST:
            raise InputError(
                f"--checkpoint: found {given.checkpoint}, expected none for an ONNX file"
            )
        _evaluate_file(given.run.expanduser(), given.data)
        return

    config = _recorded_config(artifacts.find_run(given.run), given.data)

    from nge_jax import main

    with main.exit_codes():
        main.run_task(config, given.run, eval_only=True, checkpoint=given.checkpoint)


def _evaluate_file(path: Path, place: str | None) -> None:
    """Tests an exported ONNX file on the data set of its run, which may have moved to `place`."""
    from nge_jax.export import onnx_file
    from nge_jax.train import runner

    spec = onnx_file.read_spec(path)
    config = _recorded_config(path.parent, place)
    source = runner.reopen(config, spec, path.parent)
    onnx_file.evaluate(path, source, config.run.eval_batch_size)


def _report(arguments: list[str]) -> None:
    parser = make_parser(
        "report",
        "Writes report.html, report.md and the pictures of a run again, or index.html of a folder of runs.",
    )
    parser.add_argument(
        "run", metavar="RUN", type=Path, help="the run's workdir, or a folder of runs"
    )
    given = parser.parse_args(arguments)
    if given.run.is_dir() and not (given.run / "config.json").exists():
        from nge_jax.report.parts import index
        from nge_jax.workdir import lock

        print(f"runs: {index.write_index(given.run, lock.is_held)}")
        return

    from nge_jax.workdir import artifacts

    artifacts.check_for_this_program(given.run)
    config = _recorded_config(given.run)

    from nge_jax import main
    from nge_jax.runtime import runners

    with main.exit_codes():
        main.find_task(config.task)  # refuses a record without a task
        print(f"report: {runners.load(config.to_dict()).report(given.run)}")


def _compare(arguments: list[str]) -> None:
    parser = make_parser(
        "compare", "Compares runs: results, settings that differ, curves and cells."
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="the runs' workdirs")
    parser.add_argument(
        "--html", metavar="FILE", type=Path, help="write a page with curves and cells"
    )
    parser.add_argument(
        "--csv", metavar="FILE", type=Path, help="write the results with all their digits"
    )
    given = parser.parse_args(arguments)

    from nge_jax import files
    from nge_jax.report import compare
    from nge_jax.report.parts import read, results

    outputs = {name: getattr(given, name) for name in ("html", "csv") if getattr(given, name)}
    outputs = {name: path.expanduser() for name, path in outputs.items()}
    for name, path in outputs.items():
        with arguments_as(output=f"--{name}"):
            files.check_new(path)

    runs = read.read_runs([run.expanduser() for run in given.runs], _count_sizes)
    table = results.results_table(runs)
    text = compare.to_text(table)
    columns, _ = shutil.get_terminal_size()
    fits = max(map(len, text.splitlines())) <= columns
    print(text if fits else compare.to_text(compare.turned(table)))
    for table in (compare.differences_table(runs), compare.operations_table(runs)):
        if table.rows:
            print(f"\n{compare.to_text(table)}")
    for name, path in outputs.items():
        content = compare.page(runs) if name == "html" else results.to_csv(runs)
        with arguments_as(output=f"--{name}"), files.whole_output(path) as new:
            new.write_text(content, encoding="utf-8", errors="backslashreplace")
        print(f"\n{'page' if name == 'html' else 'table'}: {path}")


def _count_sizes(run: Path) -> "list[Size] | None":
    """Counts the network of a run whose report has not; None if the run's files do not tell."""
    from nge_jax.errors import GenotypeError
    from nge_jax.runtime import runners

    try:
        return runners.load(_recorded_config(run).to_dict()).sizes(run)
    except (InputError, GenotypeError, AttributeError, KeyError):  # an older version, or damaged
        return None


def _recorded_config(run: Path, place: str | None = None) -> "ConfigDict":
    """Reads the config that a workdir records; `place`: the data set's, if it has moved, as --data names it."""
    from nge_jax.workdir import recorded

    if not run.is_dir():
        raise InputError(f"{run}: no such folder, expected the workdir of a run")
    config = recorded.read(run)
    if place is not None:
        from nge_jax.data.place import data_keys
        from nge_jax.settings.configs import differ, flatten

        differ(config, data_keys(flatten(config.to_dict()), place))
    return config


def _predict(arguments: list[str]) -> None:
    from nge_jax.predict import options

    parser = make_parser("predict", "Classifies or segments images with the network of a training.")
    parser.add_argument(
        "workdir", metavar="RUN", type=Path, help="the run's workdir, or digits:pretrained"
    )
    parser.add_argument(
        "images", metavar="IMAGES", nargs="+", type=Path, help="images and folders of images"
    )
    options.add_options(parser)
    given = parser.parse_intermixed_args(arguments)

    from nge_jax.predict import command

    command.run(given, "IMAGES")


def _export(arguments: list[str]) -> None:
    from nge_jax.export import options

    parser = make_parser("export", "Exports the network of a training for use without nge_jax.")
    parser.add_argument("workdir", metavar="RUN", type=Path, help="the run's workdir")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="folder for the files")
    options.add_options(parser)
    given = parser.parse_args(arguments)

    from nge_jax.export import command

    command.run(given, "OUTPUT")


def _latency(arguments: list[str]) -> None:
    from nge_jax.measure import options

    parser = make_parser(
        "latency", "Times a network for a single image, or its parts into a table."
    )
    parser.add_argument(
        "network",
        metavar="RUN|CELL",
        nargs="?",
        help="a run's workdir, a cell as of nge show, or a file that nge export has written, such as network.onnx",
    )
    options.add_options(parser)
    given = parser.parse_args(arguments)

    from nge_jax.measure import command

    command.run(given)


def _show(arguments: list[str]) -> None:
    parser = make_parser("show", "Prints a cell as JSON, or draws it.")
    parser.add_argument(
        "cell",
        metavar="CELL",
        help="a published name, random:SEED, a file or a log with a genotype, DARTS's printed Genotype(...), a cell of "
        "NAS-Bench-201 in its notation ('|nor_conv_3x3~0|+...'), or a run",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=f"a picture: {', '.join(PICTURES)}"
    )
    given = parser.parse_args(arguments)

    from nge_jax.space.cell import load

    shown = load(given.cell)
    if given.output is None:
        print(shown.to_json(), end="")
        return
    output = given.output.expanduser()
    if output.suffix not in PICTURES:
        raise InputError(f"--output: found {output}, expected a name in {', '.join(PICTURES)}")

    from nge_jax.report import cell, figure

    drawing = cell.any_cell_figure(shown)
    try:
        if output.suffix == ".svg":
            output.write_text(figure.to_svg(drawing), encoding="utf-8")
        else:
            drawing.savefig(output, dpi=200)
    except OSError as error:
        raise InputError(f"--output: {output} cannot be written ({error.strerror})") from error
    print(output)


def _list_cells(arguments: list[str]) -> None:
    make_parser(
        "cells",
        "Lists the published cells with the parameters and multiply-adds of their networks: of 20 cells with 36 "
        "channels on CIFAR-10, of 14 cells with 48 on ImageNet.",
    ).parse_args(arguments)

    print(
        f"{'':15} {'CIFAR-10:':>13} {'multiply-adds':>14} {'ImageNet:':>13} {'multiply-adds':>14}"
    )
    for name, sizes in CELL_SIZES.items():
        print(f"{name:15}", *(f"{size:13,} {adds:14,}" for size, adds in (sizes[:2], sizes[2:])))


def _describe_configs(arguments: list[str]) -> None:
    parser = make_parser("configs", "Lists the config, or the keys of one with what its file says.")
    parser.add_argument("name", metavar="NAME", nargs="?", help="name or file, with variants")
    given = parser.parse_args(arguments)

    from nge_jax.settings.configs import shipped_configs
    from nge_jax.settings.parts.part import announced

    if given.name is not None:
        from nge_jax.settings.help import describe_config

        print(describe_config(given.name))
        return
    width = max(40, shutil.get_terminal_size().columns - 22)  # the second column
    for name, file in shipped_configs().items():
        about = textwrap.wrap(_first_line(file), width)
        print(f"{name:20}  {about[0]}", *(f"{'':20}  {line}" for line in about[1:]), sep="\n")
    if parts := [*announced()]:
        print("\nParts of installed packages:")
    for key, reference, package in parts:
        print(f"  {key}={reference}" + f"  ({package})" * bool(package))


def _init(arguments: list[str]) -> None:
    parser = make_parser("init", "Writes a config of your own, with comments.")
    parser.add_argument("file", metavar="NAME", type=Path, help="the new file, such as mine.py")
    parser.add_argument(
        "--data", metavar="DIR", type=Path, help="a folder of images, or an .npz file"
    )
    parser.add_argument(
        "--like",
        metavar="CONFIG",
        help="the shipped config that it begins with; default: search_folder with --data, else search_digits",
    )
    given = parser.parse_args(arguments)

    from nge_jax.shell.init import write_config

    default = "search_digits" if given.data is None else "search_folder"
    with arguments_as(output="NAME"):
        print(write_config(given.file.expanduser(), given.like or default, given.data))


def _first_line(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


COMMANDS = {
    "eval": _evaluate,
    "predict": _predict,
    "export": _export,
    "latency": _latency,
    "report": _report,
    "compare": _compare,
    "show": _show,
    "cells": _list_cells,
    "configs": _describe_configs,
    "init": _init,
}
