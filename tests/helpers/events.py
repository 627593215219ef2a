"""Reads the events that a run writes for TensorBoard."""

from nge_jax.devices import host_tf


def load_events(path, **options):
    """Loads a workdir's events. TensorBoard imports TensorFlow here, whose messages are set at the first import."""
    host_tf.tensorflow()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(path), **options).Reload()


def read_events(path):
    """Reads a workdir's data by tag as TensorBoard does: (step, value) of numbers, and the tensors of other data."""
    from tensorboard.util.tensor_util import make_ndarray

    events = load_events(path, size_guidance={"tensors": 0})
    shown = {
        tag: [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }
    return {
        tag: [(step, value.item() if not value.shape else value) for step, value in points]
        for tag, points in shown.items()
    }
