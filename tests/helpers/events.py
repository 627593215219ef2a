"""Reads the events that a run writes for TensorBoard."""


def read_events(path):
    """Reads a workdir's data by tag as TensorBoard does: (step, value) of numbers, and the tensors of other data."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(path), size_guidance={"tensors": 0}).Reload()
    shown = {
        tag: [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }
    return {
        tag: [(step, value.item() if not value.shape else value) for step, value in points]
        for tag, points in shown.items()
    }
