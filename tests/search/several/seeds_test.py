"""Searches of several seeds as one program: each does the same as alone, killed or not, and has a folder."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.console.progress import table_header, table_row
from nge_jax.devices import parallel
from nge_jax.devices.parallel import Batches
from nge_jax.report import seeds as seeds_report
from nge_jax.runtime import task as run_task
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.search import record
from nge_jax.search import runner as search_runner
from nge_jax.search.several import mapping, task
from nge_jax.search.several.members import settings_of_members
from nge_jax.search.steps import relaxation
from nge_jax.search.steps.gradient import SearchState
from nge_jax.settings.configs import to_values
from nge_jax.space.spaces import DARTS, NAS_BENCH_201
from nge_jax.workdir import artifacts
from nge_jax.workdir import folder as workdir
from tests.helpers.small_search import (
    LINE,
    RELAXATIONS,
    ROW,
    Killed,
    dying,
    make_config,
    result,
    stand_ins,
)

SEEDS = (0, 3)


@pytest.fixture(scope="module")
def searched(data, tmp_path_factory):
    """Workdirs by name: of both seeds together, one by one, mapped and killed, and of the second one alone."""
    folder = tmp_path_factory.mktemp("searched")
    config = make_config("gradient", seeds=SEEDS, entropy_weight=0.2)
    alone = make_config("gradient", entropy_weight=0.2)
    alone.seed = SEEDS[1]
    config.run.random_cells = alone.run.random_cells = 0
    mapped, left = mapping.map_phase, [2, 9]

    def mapped_at_once(phase, batches, **_):
        return mapped(phase, batches, one_by_one=False)

    with stand_ins(data) as patched:
        search_runner.run(alone, folder / "alone")
        several = search_runner.run(config, folder / "straight")
        with patched.context() as other:
            other.setattr(mapping, "map_phase", mapped_at_once)
            search_runner.run(config, folder / "mapped")
        with patched.context() as other:
            other.setattr(Checkpoints, "save", dying(left))
            while left:
                with pytest.raises(Killed):
                    search_runner.run(config, folder / "killed")
        search_runner.run(config, folder / "killed")
    assert several.workdir == folder / "straight" and [*several.of_seeds] == [*SEEDS]
    return {name: folder / name for name in ("alone", "straight", "mapped", "killed")}


@pytest.mark.parametrize("how", ["straight", "mapped"])
def test_each_ends_as_the_search_of_its_seed_alone(searched, how):
    mine, alone = searched[how] / "seed-3", searched["alone"]
    assert result(mine).genotype == result(alone).genotype != ""
    assert result(mine).arrays.keys() == result(alone).arrays.keys()
    for one, other in zip(result(mine).rows, result(alone).rows, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    np.testing.assert_allclose(result(mine).probs, result(alone).probs, rtol=1e-5)
    first = searched[how] / "seed-0"
    assert result(first).probs != result(mine).probs, "the seeds have done the same"
    # The folder has all files of a search, and its config has the seed.
    names = [{f.name for f in p.iterdir() if "tfevents" not in f.name} for p in (mine, alone)]
    assert names[0] == names[1]
    config = json.loads((mine / artifacts.CONFIG).read_text())
    assert config["seed"] == 3 and config["search"]["seeds"] == []
    workdir.check(mine, json.loads((alone / artifacts.CONFIG).read_text()), overwrite=False)


def test_killed_they_end_bit_identical(searched):
    for folder in ("", "seed-0", "seed-3"):
        assert result(searched["killed"] / folder) == result(searched["straight"] / folder)
    assert result(searched["straight"]).step == 12


def test_the_workdir_has_means_and_spreads(searched):
    whole = searched["straight"]
    last = [result(whole / f"seed-{seed}").rows[-1] for seed in SEEDS]
    row = result(whole).rows[-1]
    for key in ("weight_loss", "embedding_accuracy", "entropy_normal", "skip_connect_normal"):
        values = [r[key] for r in last]
        assert row[key] == pytest.approx(np.mean(values))
        assert row[f"{key}_sd"] == pytest.approx(np.std(values, ddof=1))
    assert "learning_rate_sd" not in row and row["learning_rate"] == last[0]["learning_rate"]


def test_the_report_shows_every_seed(searched, monkeypatch):
    whole = searched["straight"]
    # Other tests are about drawings.
    monkeypatch.setattr(seeds_report.figure, "save", seeds_report.figure.save_svg)
    for seed in SEEDS:
        compared = {"found": 0.5, "random": {"random:0": 0.25, "random:1": 0.1 * seed}}
        artifacts.write_json(whole / f"seed-{seed}" / artifacts.RANDOM_CELLS, compared)
    assert search_runner.report(whole) == whole / artifacts.REPORT
    summary = artifacts.read_json(whole / artifacts.SEEDS, ("seeds", "mean", "sd"))
    cells = [json.loads((whole / f"seed-{s}" / artifacts.GENOTYPE).read_text()) for s in SEEDS]
    assert [single["cell"] for single in summary["seeds"].values()] == cells
    losses = [single["values"]["embedding_loss"] for single in summary["seeds"].values()]
    assert summary["mean"]["embedding_loss"] == pytest.approx(np.mean(losses))
    assert summary["sd"]["embedding_loss"] == pytest.approx(np.std(losses, ddof=1))
    accuracy = f"{summary['mean']['embedding_accuracy']:.2%}"
    text = (whole / artifacts.REPORT_MARKDOWN).read_text()
    for expected in (
        accuracy,
        "| seed-0 |",
        "The reduction cell of seed-3",
        "search.seeds=(0,3,)",
        "20.00% ± 10.61%",
    ):
        assert expected in text
    shown = seeds_report.to_text(whole)
    assert max(map(len, shown.splitlines())) <= 80
    assert [line.split()[0] for line in shown.splitlines()[:5]] == ["Seed", "0", "3", "mean", "sd"]
    assert "seed 3, normal cell: " in shown and accuracy in shown


def test_with_overwrite_the_folders_of_other_seeds_go(tmp_path, searched):
    values = json.loads((searched["straight"] / artifacts.CONFIG).read_text())
    workdir.prepare(tmp_path / "run", values, overwrite=False)
    for seed in (*SEEDS, 7):
        workdir.prepare(tmp_path / "run" / f"seed-{seed}", values, overwrite=False)
    (tmp_path / "run" / "seed-3" / "notes.txt").write_text("mine")
    config, run = make_config("gradient", seeds=(0,)), tmp_path / "run"
    values = to_values(config)
    folders = {run: values, **settings_of_members(values, run)}
    with run_task._all_held(folders, run, overwrite=True):
        run_task._begin_folders(folders, run, {}, overwrite=True)
        assert (run / "seed-0" / "run.lock").exists()
    # The run had no seed 7, and the notes belong to the user.
    assert {p.name for p in (tmp_path / "run").glob("seed-*")} == {"seed-0", "seed-3", "seed-7"}
    assert [p.name for p in (tmp_path / "run" / "seed-3").iterdir()] == ["notes.txt"]
    assert (tmp_path / "run" / "seed-7" / artifacts.CONFIG).exists()


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_mapped_phase_gives_each_seed_what_is_its_own(one_by_one):
    """A simple phase shows which weights, key, batches and P a seed sees, and which values all seeds share."""

    def phase(state, batches, key_and_numbers, start, stop):
        probs, batches = batches
        key, rate = key_and_numbers

        def step(i, state):
            images = batches.images[batches.indices[i]]
            noise = jax.random.normal(jax.random.fold_in(key, state.step))
            moved = state.params + rate * (images.sum() + noise) * probs
            moved = jax.lax.cond(
                state.step < 1, lambda m, p: p, lambda m, p: m, moved, state.params
            )
            return state._replace(step=state.step + 1, params=moved)

        return jax.lax.fori_loop(start, stop, step, state)

    images = jnp.arange(10.0)
    orders = jnp.array([[[0, 1], [2, 3], [4, 5]], [[9, 8], [7, 6], [5, 4]]])
    keys, probs = jax.random.split(jax.random.key(0), 2), jnp.array([1.0, 3.0])
    singles = [SearchState(jnp.int32(0), jnp.float32(s), (), {}, None) for s in (1, 2)]
    axes = (0, mapping.BATCHES_AXES)
    mapped = mapping.map_phase(phase, axes, one_by_one=one_by_one)
    batches = probs, Batches(images, None, orders)
    together = jax.jit(mapped)(mapping.stack_states(singles), batches, (keys, 0.5), 0, 3)
    assert together.step == 3
    for n, state in enumerate(singles):
        alone = phase(state, (probs[n], Batches(images, None, orders[n])), (keys[n], 0.5), 0, 3)
        found = mapping.take_search(together, n)
        assert found.step == alone.step and found.params == pytest.approx(float(alone.params))


@pytest.mark.parametrize("space", [DARTS, NAS_BENCH_201])
@pytest.mark.parametrize("name", RELAXATIONS)
def test_the_table_fits_80_columns(name, space):
    relaxed = relaxation.with_skip_dropout(RELAXATIONS[name], LINE, 0)
    columns = record.make_mean_columns(relaxed, space)
    spread = {"embedding_accuracy": 0.5, "embedding_accuracy_sd": 0.7071}
    header, row = table_header(columns).splitlines(), table_row(columns, ROW | spread)
    assert max(map(len, [*header, row])) <= 80
    assert len(row) >= len(header[-1]) and len(row) - len(header[-1]) <= 1


def test_images_that_stream_follow_each_other():
    parts = [
        Batches(np.full((4, 2, 2, 1), n, np.uint8), np.full(4, n), np.array([[[0, 3], [1, 2]]]))
        for n in range(3)
    ]
    joined = task._join_batches(parts, streams=True)
    assert joined.indices.shape == (1, 3, 2, 2)
    for n in range(3):
        images, labels = parallel.batch_at(joined._replace(indices=joined.indices[0, n]), 1)
        assert (images == n).all() and (labels == n).all() and len(labels) == 2
    shared = task._join_batches(parts, streams=False)
    assert shared.images is parts[0].images and (shared.indices[:, 0] == shared.indices[:, 2]).all()
