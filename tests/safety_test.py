"""The program runs no file that it reads, leaves none half-written, and calls nobody."""

import ast
import json
import os
import pickle
import stat
import textwrap

import numpy as np
import pytest

from nge_jax import files
from nge_jax.errors import InputError
from nge_jax.report import document
from nge_jax.search import runner as search_runner
from nge_jax.space import genotype, nas_bench_201
from nge_jax.workdir import artifacts
from tests.conftest import ROOT

SOURCES = [*(ROOT / "nge_jax").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]
RUNNING = {"eval", "exec", "compile", "__import__"}
LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def test_nothing_runs_what_it_reads():
    """A config or a part is a program that its user names. One place runs configs, one runs parts."""
    runs_files = set()
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            # An experiment converts a table that its authors publish as a pickle, by a loader of data alone.
            if "experiments" not in path.parts:
                assert not {name.split(".")[0] for name in names} & LOADERS, path
        for node, name in calls(tree):
            assert name not in RUNNING, f"{path}, line {node.lineno}"
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert given.get("shell", "False") == "False", f"{path}, line {node.lineno}"
            assert name not in ("os.system", "os.popen"), f"{path}, line {node.lineno}"
            if name == "np.load":
                assert given.get("allow_pickle") == "False", f"{path}, line {node.lineno}"
            if name.endswith("exec_module"):
                runs_files.add(path.relative_to(ROOT).as_posix())
    assert runs_files == {"nge_jax/settings/configs.py", "nge_jax/space/parts/modules.py"}


def test_a_record_that_names_a_program_does_not_run_it(tmp_path, monkeypatch):
    trap = tmp_path / "trap.py"
    trap.write_text(f"import os\nos.mkdir({str(tmp_path / 'sprung')!r})\n")
    values = {"data": {"name": "cifar10"}, "search": {"train_config": str(trap)}}
    artifacts.write_json(tmp_path / artifacts.CONFIG, values)
    (tmp_path / artifacts.GENOTYPE).write_text(genotype.to_json(genotype.load("DARTS_V2")))
    for name in ("cifar_cost", "imagenet_cost"):
        monkeypatch.setattr(search_runner.cost, name, lambda *_, **__: (1, 2))
    assert len(search_runner.sizes(tmp_path)) == 2
    assert not (tmp_path / "sprung").exists()


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_an_archive_with_a_pickle_in_it_is_refused_and_not_unpickled(tmp_path):
    trap = np.array([Trap(tmp_path / "sprung")], object)
    for name, keys, read in (
        ("history.npz", ("architectures", "rewards", "candidates", "accuracies"), artifacts.read_history),
        ("architecture.npz", ("probs", "operations", "edges"), artifacts.read_architecture),
        ("table.npz", ("arch", "columns", "values"), nas_bench_201.load),
    ):  # fmt: skip
        np.savez(tmp_path / name, **dict.fromkeys(keys, trap))
        with pytest.raises(ValueError):
            read(tmp_path / name)
        (tmp_path / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
        with pytest.raises(ValueError):
            read(tmp_path / name)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))  # the trap would have worked
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').mkdir('{0}')",
        "Genotype(normal=__import__('os').mkdir('{0}'), normal_concat=[2], reduce=[], reduce_concat=[2])",
        '{{"normal": "__import__(\'os\').mkdir(\'{0}\')", "normal_concat": [2], "reduce": [], "reduce_concat": [2]}}',
        "Genotype(normal=[('sep_conv_3x3', open('{0}', 'w'))], normal_concat=[2], reduce=[], reduce_concat=[2])",
    ],
)  # fmt: skip
def test_a_genotype_is_no_program(tmp_path, text):
    (tmp_path / "cell").write_text(text.format(tmp_path / "sprung"))
    with pytest.raises(InputError):
        genotype.load(str(tmp_path / "cell"))
    assert not (tmp_path / "sprung").exists()


EVIL = """"><script>alert('x')</script><img src=x onerror=alert(1)>&<b>"""


def test_a_report_shows_names_as_texts(tmp_path):
    table = document.Table((EVIL, "b"), [(EVIL, EVIL)])
    texts = [document.Text(EVIL), document.Code(EVIL, summary=EVIL), table]
    sections = [document.Section(EVIL, texts)]
    page = document.to_html(document.Document(EVIL, EVIL, [(EVIL, EVIL)], sections), tmp_path)
    assert page.count("&lt;script&gt;") >= 8
    assert "<script" not in page and "<img" not in page and "<b>" not in page


def test_a_file_is_whole_or_the_old_one_and_has_the_users_mask(tmp_path, monkeypatch):
    path = tmp_path / "file"
    for mask, mode in ((0o077, 0o600), (0o022, 0o644), (0o002, 0o664)):
        before = os.umask(mask)
        try:
            files.write_atomically(path, "old")
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        path.unlink()
    files.write_atomically(path, "old")

    def fails(*_):
        raise OSError("the disk is full")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, fails)
            with pytest.raises(OSError):
                files.write_atomically(path, "new")
        assert path.read_text() == "old"


def test_what_utf_8_has_no_form_for_comes_back(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    artifacts.write_json(tmp_path / "a.json", {"name": name})
    assert artifacts.read_json(tmp_path / "a.json") == {"name": name}


ALONE = """
import sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind"):
        print("NETWORK", event, arguments[1:], file=sys.stderr)
sys.addaudithook(watch)
import socket
{check}
from nge_jax import cli, files
cli.run(sys.argv[1:])
"""


@pytest.mark.whole
def test_a_run_and_its_report_call_nobody(python, tmp_path):
    """A run on data that is there neither looks a name up nor opens a connection."""
    cell = {"normal": [["skip_connect", 0], ["max_pool_3x3", 1]], "normal_concat": [2]}
    cell |= {"reduce": cell["normal"], "reduce_concat": [2]}
    (tmp_path / "cell.json").write_text(json.dumps(cell))
    command = [
        "train",
        "train_digits:smoke",
        f"genotype={tmp_path / 'cell.json'}",
        "network.cells=1",
    ]
    command += ["train.images_per_epoch=64", f"--workdir={tmp_path / 'w'}"]
    done = python("-c", ALONE.format(check=""), *command, timeout=300)
    assert done.returncode == 0 and (tmp_path / "w" / "report.html").exists(), done.stderr
    assert "NETWORK" not in done.stderr
    check = textwrap.dedent(
        "try: socket.create_connection(('127.0.0.1', 9), 1)\nexcept OSError: pass"
    )
    done = python("-c", ALONE.format(check=check), "--version")
    assert "NETWORK socket.connect" in done.stderr  # the watch would have seen it
