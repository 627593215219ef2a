"""The command line: what it runs, and how it refuses."""

import json
import re
import sys
import types
from pathlib import Path

import jax
import pytest
from absl.testing import flagsaver

import nge_jax
from nge_jax import main
from nge_jax.errors import InputError
from nge_jax.runtime import task as run_task
from nge_jax.search import runner as search_runner
from nge_jax.settings import flags as runtime_flags
from nge_jax.settings.configs import load_config, to_values
from nge_jax.workdir import folder as workdir

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs main on arguments with a stand-in for the search; returns what the search was given."""
    calls = []
    search = types.ModuleType("nge_jax.search.runner")
    search.run = lambda config, path, overwrite: calls.append((config, path, overwrite))
    for name in ("nge_jax.search.runner", "nge_jax.trials.runner"):
        monkeypatch.setitem(sys.modules, name, search)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    cache = jax.config.jax_compilation_cache_dir

    def run(*arguments):
        calls.clear()
        argv = ["nge", *arguments]
        monkeypatch.setattr(sys, "argv", argv)
        main.main(runtime_flags.parse(argv))
        return calls[0]

    with flagsaver.flagsaver():
        yield run
    jax.config.update("jax_compilation_cache_dir", cache)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["search_digits.py"], "runs/search_digits"),
        (["search_cifar.py:rnn,small"], "runs/search_cifar-rnn-small"),
        (["search_cifar.py:rnn", "--config.seed=3"], "runs/search_cifar-rnn"),
        (["search_cifar.py", "--workdir=/tmp/some where"], "/tmp/some where"),
        (["search_cifar.py", "--workdir=~/w"], str(Path.home() / "w")),
    ],
)
def test_the_config_names_the_workdir(run, arguments, path):
    config, given, overwrite = run(f"--config={CONFIGS / arguments[0]}", *arguments[1:])
    assert given == Path(path) and not overwrite
    assert config.seed == (3 if "--config.seed=3" in arguments else 0)


def test_overrides_and_overwrite_reach_the_run(run, tmp_path):
    config, path, overwrite = run(
        f"--config={CONFIGS / 'search_cifar.py'}",
        "--config.search.epochs=7",
        "--config.network.cells",
        "5",
        "--noconfig.data.flip",
        f"--workdir={tmp_path / 'w'}",
        "--overwrite",
    )
    assert config.search.epochs == 7 and config.network.cells == 5 and not config.data.flip
    assert overwrite and path == tmp_path / "w"


def test_the_compilation_cache_is_in_the_users_cache_folder(run, tmp_path, monkeypatch):
    run(f"--config={CONFIGS / 'search_digits.py'}")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "cache" / "nge_jax" / "xla")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the standard has it ignored
    monkeypatch.setenv("HOME", str(tmp_path))
    run(f"--config={CONFIGS / 'search_digits.py'}")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / ".cache" / "nge_jax" / "xla")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "chosen")
    run(f"--config={CONFIGS / 'search_digits.py'}")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "chosen")


def test_without_a_cache_folder_it_says_so_and_goes_on(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    run(f"--config={CONFIGS / 'search_digits.py'}")
    assert jax.config.jax_compilation_cache_dir is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(
        main.Path, "home", lambda: Path("~no-such-user").expanduser()
    )  # knows no home
    run(f"--config={CONFIGS / 'search_digits.py'}")
    assert capsys.readouterr().err.count("warning: no compilation cache (") == 2


def test_a_workdir_of_another_config_is_refused_before_data_are_read(tmp_path):
    config = load_config("search_digits", "gradient")
    workdir.prepare(tmp_path / "w", to_values(config), overwrite=False)
    (tmp_path / "w" / "metrics.jsonl").write_text("{}")
    config.seed = 1
    kind = search_runner.KIND._replace(open=lambda *_: pytest.fail("the data are read"))
    with pytest.raises(InputError, match=r"\(seed: workdir has 0, now 1\)"):
        run_task.run(kind, config, tmp_path / "w")


@pytest.mark.parametrize(
    "name, given, refusal",
    [
        ("search_digits", "search.epochs=7", "evaluator='trained' does not read it; the word gradient"),
        ("search_folder", "data.flip=False", "evaluator='trained' does not read it; the word gradient"),
        ("search_digits", "embedding.b1=0.7", "strategy='evolution' does not read it; the word gradient"),
        ("search_digits", "final.batches=3", "evaluator='trained' does not read it"),
        ("search_digits:random", "search.edge_model=alpha", "strategy='random' does not read it"),
        ("search_cifar:rnn", "search.adjacency=predecessors", "search.edge_model='rnn' does not read it"),
        ("search_digits:gradient", "trained.cells=5", "evaluator='supernet' does not read it"),
        ("search_cifar", "gumbel.last_temperature=2.0", "relaxation='softmax' does not read it"),
    ],
)  # fmt: skip
def test_a_key_that_the_search_does_not_read_is_refused(run, tmp_path, name, given, refusal):
    path = tmp_path / "w"
    arguments = f"--config={name}", f"--config.{given}", f"--workdir={path}"
    with pytest.raises(InputError) as refused:
        run(*arguments)
    key, _, value = given.partition("=")
    text = str(refused.value)
    found = text.replace("'", "")
    assert found.startswith(f"config.{key}: found {value}, expected none: a search with config.")
    assert refusal in text and ("the word gradient" in text) == ("the word gradient" in refusal)
    # A run that began so goes on by the same command.
    config = main.read_config(name, [f"--config.{given}"])
    workdir.prepare(path, to_values(config), overwrite=False)
    (path / "metrics.jsonl").write_text("{}\n")
    assert run(*arguments)[1] == path
    with pytest.raises(InputError):
        run(*arguments, "--overwrite")


@pytest.mark.parametrize("given, expected", [((), "newest"), (("--checkpoint=best",), "best")])
def test_a_checkpoint_is_tested_as_by_nge_eval(run, monkeypatch, given, expected):
    tested = []
    monkeypatch.setattr(main, "run_task", lambda *_, **options: tested.append(options))
    with pytest.raises(IndexError):  # no search runs
        run("--config=train_digits", "--eval_only", *given)
    assert tested[0]["eval_only"] and tested[0]["checkpoint"] == expected


REFUSALS = [
    (["--config=configs/none.py"], r"config 'configs/none\.py': no such file"),
    (["--config=configs/search_cifar.py:foo"], r"unknown variant 'foo', .*alpha.*smoke"),
    (["--config=configs/search_cifar.py:rnn,plain"], r"'rnn,plain' names two of nge, alpha"),
    (
        ["--config=configs/search_cifar.py", "--config.search.epoch=3"],
        r"config\.search\.epoch: no such key .*did you mean search\.epochs",
    ),
    (
        ["--config=configs/search_cifar.py", "--config.learning_rate=3"],
        r"no such key .*did you mean embedding\.learning_rate, .*weights\.learning_rate",
    ),
    (
        ["--config=configs/search_cifar.py", "--config.search.epochs=many"],
        r"config\.search\.epochs: found 'many', expected an integer",
    ),
    (
        ["--config=configs/search_cifar.py", "--config.data.flip=2"],
        r"config\.data\.flip: found '2', expected True or False",
    ),
    (
        ["--config=train_cifar10", "--config.data.name=imagenette"],
        r"config\.data\.name: found 'imagenette', expected one of cifar10, cifar100, digits",
    ),
    (["--config=configs/search_cifar.py", "--config.task=sing"], r"config\.task: found 'sing'"),
    (["--wrkdir=here"], r"wrkdir.*workdir"),
    (
        ["--config=train_digits", "--checkpoint=best"],
        "--checkpoint: found best, expected none without --eval_only",
    ),
    (["configs/search_cifar.py"], r"unexpected argument 'configs/search_cifar\.py'"),
    (
        ["--config=configs/search_cifar.py", "--workdir=configs"],
        r"--workdir: configs is not empty and was not written by nge_jax",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS)
def test_bad_input_is_refused(run, monkeypatch, arguments, message):
    monkeypatch.chdir(CONFIGS.parent)
    with pytest.raises(InputError, match=message):
        run(*arguments)


def test_a_refusal_is_one_line_and_exit_code_2(python):
    for arguments, message in (REFUSALS[1], REFUSALS[-1]):
        done = python("-m", "nge_jax.main", *arguments)
        assert done.returncode == 2 and done.stdout == ""
        assert re.fullmatch(f"error: .*{message}.*\n", done.stderr)
    assert not (CONFIGS.parent / "runs" / "search_cifar-foo").exists()


def test_the_first_line_says_what_is_run_and_where(run, tmp_path, capsys):
    run(f"--config={CONFIGS / 'search_cifar.py'}:rnn", f"--workdir={tmp_path}/w")
    words = capsys.readouterr().out.split()
    line = f"nge_jax {nge_jax.__version__}: architecture search, {CONFIGS}/search_cifar.py:rnn -> "
    assert words == f"{line} {tmp_path}/w".split()


@pytest.mark.parametrize(
    "start",
    [
        "from nge_jax import main; import jax",
        "from nge_jax import cli; cli.run(['search', 'search_digits', '--workdir=/dev/null'])",
    ],
)
def test_alarms_of_compilers_are_silenced_unless_the_user_has_chosen(python, monkeypatch, start):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    code = """
import os, sys
class Watch:
    def find_spec(self, name, *_):
        if name == "jax":  # which would set it, and reads it only once
            print(os.environ.get("TF_CPP_MIN_LOG_LEVEL"))
sys.meta_path.insert(0, Watch())
"""
    code += start
    assert python("-c", code).stdout == "3\n"
    assert python("-c", code, TF_CPP_MIN_LOG_LEVEL="0").stdout == "0\n"


def test_without_a_config_it_says_what_to_type(python):
    done = python("-m", "nge_jax.main")
    assert done.returncode == 2 and done.stdout == ""
    for config in re.findall(r"--config=(\S+?\.py)", done.stderr):
        assert (CONFIGS.parent / config).exists()
    assert "python -m nge_jax.main --config=configs/search_digits.py" in done.stderr


def test_a_bug_keeps_its_traceback(run, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr(workdir, "expand", broken)
    monkeypatch.setattr(
        main.app, "run", lambda *_, **__: run(f"--config={CONFIGS / 'search_cifar.py'}")
    )
    with pytest.raises(ValueError, match="a bug"):
        main.run()


SLOW_TO_IMPORT = ("jax", "flax", "optax", "orbax", "tensorflow", "sklearn", "matplotlib")
MISTAKES = [
    (["search_cifra"], "config 'search_cifra': no such file"),
    (["search_digits:smok"], "unknown variant 'smok', did you mean smoke"),
    (["search_digits", "serch.epochs=3"], "config.serch.epochs: no such key"),
    (
        ["search_digits", "workdir=here"],
        "config.workdir: no such key in search_digits.py, did you mean --workdir",
    ),
    (
        ["search_digits", "zzz=1"],
        "config.zzz: no such key in search_digits.py, `nge configs NAME` lists the keys",
    ),
    (["search_digits", "search.epochs=x"], "config.search.epochs: found 'x', expected an integer"),
    (["search_digits", "search.epochs=0"], "config.search.epochs: found 0, expected 1 or more"),
    (["search_digits", "search.edge_model=ngee"], "found 'ngee', expected one of nge, alpha"),
    (["search_digits", "search.strategy=nosuch", "--summary"], "found 'nosuch', expected one of"),
    (["search_digits", "search.edge_models=(nge,apha)"], "found 'apha', expected one of nge"),
    (["train_digits", "genotype=DARTS_V3"], 'genotype "DARTS_V3": no such file or known cell'),
]


def test_a_wrong_name_is_refused_before_jax_is_imported(python):
    """Importing jax, flax and orbax takes from one to twenty seconds, by the machine."""
    code = f"""
import json, sys
from nge_jax import cli, main
def refusal(call, *arguments):
    try:
        call(*arguments)
    except SystemExit as end:
        assert end.code == 2, end.code
    assert not set(sys.modules) & set({SLOW_TO_IMPORT}), arguments
for arguments in json.loads(sys.argv[1]):
    refusal(cli.run, [arguments[0].split("_")[0], *arguments])
sys.argv = ["nge", "--config=search_digits", "--config.serch.epochs=3"]
refusal(main.run)
"""
    done = python("-c", code, json.dumps([arguments for arguments, _ in MISTAKES]))
    assert done.returncode == 0, done.stderr
    *lines, last = done.stderr.splitlines()
    assert len(lines) == len(MISTAKES) and "config.serch.epochs" in last
    for line, (_, message) in zip(lines, MISTAKES, strict=True):
        assert message in line


def test_every_config_loads_without_jax(python):
    code = f"""
import sys
from nge_jax.settings.configs import load_config, load_module, shipped_configs
for name, file in shipped_configs().items():
    for word in (word for table in load_module(file).VARIANTS for word in table):
        load_config(name, word)
print(set(sys.modules) & set({SLOW_TO_IMPORT}))
"""
    assert python("-c", code).stdout == "set()\n"
