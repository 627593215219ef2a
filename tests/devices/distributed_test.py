"""Several processes on this machine run one task together, with the results of one process, interrupted or not."""

import hashlib
import os
import shutil
import signal
import socket
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
from PIL import Image

from nge_jax.devices import distributed
from nge_jax.errors import InputError
from nge_jax.segment import runner as segment_runner
from nge_jax.space import genotype
from tests.helpers.devkits import write_devkit
from tests.helpers.small_search import result as search_result
from tests.helpers.small_segmentation import small_config as segmentation_config
from tests.helpers.small_training import SMALL, arrays, rows

# Interrupts a run by a signal at a step, in the process with the number `who` or in each process.
INTERRUPTED = """
    import os, signal, sys
    import jax
    from nge_jax import main
    from nge_jax.runtime import checkpoint
    from nge_jax.console.progress import EpochLog
    step, who, name, batch = int(sys.argv.pop(1)), sys.argv.pop(1), sys.argv.pop(1), int(sys.argv.pop(1))
    save, advance, images = checkpoint.Checkpoints.save, EpochLog.advance, [0]

    def save_and_die(self, at, *args):
        save(self, at, *args)
        if at == step and name == "SIGKILL":
            self.wait()
            os.kill(os.getpid(), signal.SIGKILL)

    def advance_and_signal(self, count, note):
        advance(self, count, note)
        images[0] += count
        if images[0] == batch * step and name == "SIGTERM" and who == str(jax.process_index()):
            os.kill(os.getpid(), signal.SIGTERM)

    checkpoint.Checkpoints.save = save_and_die
    EpochLog.advance = advance_and_signal
    main.run()
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def told_by_flags(processes):
    """Returns the flags by which each process finds the others."""
    if processes == 1:
        return [[]]
    start = [f"--coordinator=localhost:{free_port()}", f"--num_processes={processes}"]
    return [[*start, f"--process_id={i}"] for i in range(processes)]


def at_once(python, command, flags, environments):
    """Runs the same command in several processes with different flags and environments; returns them completed."""
    with ThreadPoolExecutor(len(flags)) as pool:
        running = [
            pool.submit(python, *command, *process_flags, timeout=600, **environment)
            for process_flags, environment in zip(flags, environments, strict=True)
        ]
        return [process.result() for process in running]


@pytest.fixture
def search(python):
    """Runs the same search in some processes at once, or in one of some devices; returns them completed."""

    def run(workdir, processes, devices=1, strategy="gradient", settings=()):
        command = [
            "-m",
            "nge_jax.main",
            f"--config=configs/search_digits.py:{strategy},smoke",
            "--config.network.cells=1",
            "--config.search.images_per_epoch=24",
            "--config.run.steps_per_dispatch=1",
            "--config.run.checkpoint_every_steps=1",
            f"--workdir={workdir}",
            *settings,
        ]
        if processes == 1:
            return [python(*command, devices=devices, timeout=600)]
        return at_once(python, command, told_by_flags(processes), [{}] * processes)

    return run


@pytest.fixture
def train(python, tmp_path):
    """Runs the same command in some processes at once; returns them completed."""
    (tmp_path / "cell.json").write_text(genotype.to_json(SMALL))
    command = [
        "--config=configs/train_digits.py:smoke",
        f"--config.genotype={tmp_path / 'cell.json'}",
        "--config.network.cells=2",
        "--config.train.epochs=3",
        "--config.train.batch_size=32",
        "--config.train.images_per_epoch=160",
        "--config.train.sync_batch_norm",
        "--config.data.validation=33",
        "--config.run.steps_per_dispatch=2",
        "--config.run.checkpoint_every_steps=7",
        "--config.run.eval_batch_size=25",
    ]

    def run(workdir, processes, *before, environments=None):
        start = [*(before or ("-m", "nge_jax.main")), *command, f"--workdir={workdir}"]
        if environments is None:
            return at_once(python, start, told_by_flags(processes), [{}] * processes)
        return at_once(python, start, [[]] * processes, environments)

    return run


def printed(process):
    """The lines that the program itself has printed."""
    return [line for line in process.stdout.splitlines() if not line.startswith("[Gloo]")]


def all_exit(done, code):
    assert [process.returncode for process in done] == [code] * len(done), [
        process.stderr[-2000:] for process in done
    ]


@pytest.mark.whole
def test_two_processes_interrupted_end_like_two_and_like_one_that_were_not(train, tmp_path):
    whole, one, two, last = (tmp_path / name for name in ("whole", "one", "two", "last"))
    done = train(whole, 2)
    all_exit(done, 0)
    # The first process speaks and writes for both.
    assert "test accuracy" in done[0].stdout and "report" in done[0].stdout
    assert "accuracy" not in done[1].stdout and "report" not in done[1].stdout
    assert (whole / "report.html").exists()
    all_exit(train(one, 1), 0)

    script = textwrap.dedent(INTERRUPTED)
    # Only the second process is asked to stop. Both stop in the middle of the first epoch.
    all_exit(train(two, 2, "-c", script, "2", "1", "SIGTERM", "32"), 75)
    assert arrays(two)[1] == 2
    all_exit(train(two, 2, "-c", script, "7", "all", "SIGKILL", "32"), -9)
    assert arrays(two)[1] == 7
    shutil.copytree(two, last)
    all_exit(train(two, 2), 0)
    all_exit(train(last, 1), 0)

    expected, step = arrays(whole)
    assert step == 15
    found = arrays(two)[0]
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert rows(two) == rows(whole)
    for path in (last, one):
        found = arrays(path)[0]
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, atol=1e-5, rtol=1e-5, err_msg=name)
        for row, like in zip(rows(path), rows(whole), strict=True):
            assert row == pytest.approx(like, abs=1e-5)
    assert rows(whole)[-1]["test_examples"] == 355
    assert rows(whole)[-1]["validation_examples"] == 33


def assert_searched_alike(path, like):
    """Checks that P after each epoch, the metrics and the cells agree up to rounding."""
    found, expected = search_result(path), search_result(like)
    assert found.step == expected.step == 12
    assert found.genotype == expected.genotype
    np.testing.assert_allclose(found.probs, expected.probs, atol=1e-5)
    for row, like_row in zip(found.rows, expected.rows, strict=True):
        assert row == pytest.approx(like_row, abs=1e-3)


@pytest.mark.whole
def test_two_processes_search_like_one_with_two_devices(search, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    done = search(two, 2)
    all_exit(done, 0)
    # The first process speaks and writes for both.
    assert "to train this cell" in done[0].stdout and not printed(done[1])
    assert (two / "report.html").exists()
    all_exit(search(one, 1, devices=2), 0)
    assert_searched_alike(two, one)


@pytest.mark.whole
def test_two_processes_train_cells_like_one_with_two_devices(search, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    # The first process's clock decides for both.
    done = search(two, 2, strategy="trained", settings=("--config.trained.minutes=60",))
    all_exit(done, 0)
    assert "the cell found" in done[0].stdout and not printed(done[1])
    all_exit(search(one, 1, devices=2, strategy="trained"), 0)
    found, expected = (dict(np.load(path / "history.npz")) for path in (two, one))
    np.testing.assert_array_equal(found["architectures"], expected["architectures"])
    np.testing.assert_allclose(found["ratings"], expected["ratings"], atol=0.02)


@pytest.mark.whole
def test_two_processes_ask_for_the_cells_that_one_with_two_devices_asks_for(search, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    all_exit(search(two, 2, strategy="reinforce"), 0)
    all_exit(search(one, 1, devices=2, strategy="reinforce"), 0)
    assert_searched_alike(two, one)
    found, expected = (dict(np.load(path / "history.npz")) for path in (two, one))
    assert found.keys() == expected.keys()
    for name in ("architectures", "candidates"):
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_allclose(found["accuracies"], expected["accuracies"], atol=1e-6)


def test_slurms_environment_is_enough(train, tmp_path):
    """Slurm's variables are set as srun sets them for two tasks on this machine."""
    job = {"SLURM_JOB_ID": "3107", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    tasks = [job | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in range(2)]
    done = train(tmp_path / "run", 2, environments=tasks)
    all_exit(done, 0)
    assert "test accuracy" in done[0].stdout and "test accuracy" not in done[1].stdout


@pytest.mark.whole
def test_two_processes_segment_like_one_with_two_devices(python, tmp_path, capsys):
    """Training, test, pictures and report, on data that no process has prepared; and the test alone."""
    write_devkit(tmp_path)
    changes = {"train.sync_batch_norm": True, "run.pictures": 2}
    config = segmentation_config(tmp_path, **changes)
    file = f"import ml_collections\nget_config = lambda: ml_collections.ConfigDict({config.to_dict()})\n"
    (tmp_path / "config.py").write_text(file)
    one, two = tmp_path / "one", tmp_path / "two"
    command = ["-m", "nge_jax.main", f"--config={tmp_path / 'config.py'}", "--workdir"]

    done = at_once(python, [*command, two], told_by_flags(2), [{}] * 2)
    done.append(python(*command, one, devices=2, timeout=600))
    all_exit(done, 0)
    assert "mean IoU" in done[0].stdout and "report" in done[0].stdout
    assert not printed(done[1])
    expected, step = arrays(one)
    found = arrays(two)[0]
    assert step == 7
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-5, rtol=1e-5, err_msg=name)
    assert rows(two)[-1]["test_examples"] == 3
    for row, like in zip(rows(two), rows(one), strict=True):
        assert row == pytest.approx(like, abs=1e-5)
    # A second writer would leave a second file of events.
    files = [sorted(f.name.partition("tfevents")[0] for f in path.iterdir()) for path in (one, two)]
    assert files[0] == files[1] and {"examples.png", "report.html"} < set(files[0])
    pictures = [np.asarray(Image.open(path / "examples.png")) for path in (one, two)]
    np.testing.assert_array_equal(*pictures)

    segment_runner.evaluate_only(config, two)  # on one device
    done = at_once(python, [*command, two, "--eval_only"], told_by_flags(2), [{}] * 2)
    all_exit(done, 0)
    assert printed(done[0]) == capsys.readouterr().out.splitlines()
    assert "of 3 images" in done[0].stdout and not printed(done[1])


@pytest.mark.parametrize(
    "given, message",
    [
        (("host:1234", None, 0), "expected all three or none"),
        (("host:1234", 2, 2), "--process_id: found 2, expected 0 to 1"),
        (("host", 2, 0), "--coordinator: found 'host', expected HOST:PORT"),
    ],
)
def test_half_told_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        distributed.initialize(*given)


def test_a_batch_script_without_srun_is_alone(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "3107")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    distributed.initialize()
    assert not jax.distributed.is_initialized()
    assert distributed.is_first()


def test_a_signal_is_told_once_and_while_the_main_thread_computes(monkeypatch, capfd):
    """Python calls no handler within a call of C, such as a compilation."""
    told, tell = [], distributed.PreemptionNotice._tell

    def tell_and_note(self):
        told.append(threading.current_thread() is threading.main_thread())
        tell(self)

    monkeypatch.setattr(distributed.PreemptionNotice, "_tell", tell_and_note)
    with distributed.PreemptionNotice() as notice:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000)
        assert notice.given() and told == [False, True]
    assert capfd.readouterr().err.splitlines() == [distributed.TOLD.decode().strip()]
    assert signal.set_wakeup_fd(-1) == -1
