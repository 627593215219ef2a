"""The mistakes of a test: which are found, and how a report shows them."""

import json

import numpy as np
import pytest

from nge_jax.errors import InputError
from nge_jax.report.parts import following
from nge_jax.report.parts import mistakes as shown
from nge_jax.report.train import write_train_report
from nge_jax.train.testing import mistakes
from tests.helpers.page import Page
from tests.helpers.recorded_runs import write_run


@pytest.fixture
def run(tmp_path):
    """A training whose test took cats for dogs, one of them by 9 to 1."""
    run = write_run(tmp_path / "run", accuracy=0.9)
    confusion = {"labels": ["cat", "$dog$"], "confusion": [[1, 2], [0, 7]]}
    (run / "confusion.json").write_text(json.dumps(confusion))
    image = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    found = [mistakes.Mistake(p, n, 0, 1, image + n) for n, p in enumerate((0.9, 0.6))]
    mistakes.write(run, found)
    return run


def test_a_report_shows_mistakes_the_baseline_and_what_follows(run):
    environment = json.loads((run / "environment.json").read_text())
    environment |= {"test_milliseconds": 0.125, "test_batch": 50}
    (run / "environment.json").write_text(json.dumps(environment))
    page = Page(write_train_report(run, []).read_text())
    words = page.text.replace("\n", "")
    assert "is cat" in words and "said $dog$ 90%" in words
    assert "Always the largest class70.00% ($dog$)" in words
    assert "Time an image0.125 ms, in batches of 50" in words
    assert "nge predict run IMAGES ..." in page.text
    assert any(label.startswith("The 2 images of the test") for label in page.labels)
    kinds = {reference.partition(";")[0] for reference in page.references if "#" not in reference}
    assert {kind.partition(":")[0] for kind in kinds} == {"data"}


@pytest.mark.parametrize("damage", [b"", b"PK\3\4"])
def test_a_damaged_record_is_refused(run, damage):
    (run / "mistakes.npz").write_bytes(damage)
    with pytest.raises(InputError, match=r"mistakes\.npz: expected mistakes, found"):
        shown.section(run)


def test_the_most_confident_mistakes_are_kept(monkeypatch):
    """Each image is a brightness, and the network says class 1 with that probability, or class 0."""
    random = np.random.RandomState(0)
    images = random.permutation(200).astype(np.uint8)[:, None, None, None]
    labels = random.randint(0, 2, 200)

    def probabilities(model, spec, variables, batch):
        bright = batch[:, 0, 0, 0] / 255
        return np.stack([1 - bright, bright], 1)

    monkeypatch.setattr(mistakes.trained, "probabilities", probabilities)
    batches = [
        (images[n : n + 16], labels[n : n + 16], np.arange(n, n + 16) < 150)
        for n in range(0, 160, 16)
    ]
    state = type("State", (), {"params": {}, "batch_stats": {}})
    found = mistakes.find(None, None, state, batches)
    bright = images[:150, 0, 0, 0] / 255
    said = bright > 0.5
    confidence = np.where(said, bright, 1 - bright)
    wrong = np.flatnonzero(said != labels[:150])
    expected = wrong[np.argsort(-confidence[wrong], kind="stable")][: mistakes.MOST]
    assert [one.number for one in found] == expected.tolist()
    assert [one.truth for one in found] == labels[expected].tolist()
    assert len(wrong) > mistakes.MOST
    assert [int(one.image.item()) for one in found] == images[expected, 0, 0, 0].tolist()


def test_commands_name_a_run_as_a_shell_reads_it():
    lines = following.lines("runs/my run", segments=True)
    assert lines[0] == "next: nge predict 'runs/my run' IMAGES ... --output=masks"
    assert lines[1] == "      nge export 'runs/my run' 'runs/my run-exported' --formats=onnx"
    assert all(len(line) <= 80 for line in lines)
    assert following.commands("runs/a study", network="network") == [
        "nge predict 'runs/a study/network' IMAGES ...",
        "nge export 'runs/a study/network' 'runs/a study-exported' --formats=onnx",
        "nge latency 'runs/a study/network'",
    ]
