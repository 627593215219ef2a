"""MLflow records a run in a local folder or on a server: pip install mlflow

    nge search search_digits:gradient run.callbacks=mlflow_callback.py:watch

MLFLOW_TRACKING_URI names the place. MLflow 3 writes to file:mlruns only with MLFLOW_ALLOW_FILE_STORE=true.
"""

import mlflow

import nge_jax as nge
from nge_jax.settings.configs import flatten


def begin(workdir, settings):
    mlflow.end_run("KILLED")  # a run in this process that was stopped, if there is one
    mlflow.set_experiment("nge_jax")
    mlflow.start_run(run_name=workdir.name)
    mlflow.log_params({name: str(value)[:250] for name, value in flatten(settings).items()})


def log(row, state):
    mlflow.log_metrics({k: v for k, v in row.items() if isinstance(v, int | float)}, row["step"])


def end(result):
    mlflow.log_artifact(str(result.workdir / "report.html"))
    mlflow.end_run()


watch = nge.Callback(on_begin=begin, on_epoch=log, on_end=end)
