"""The wheel holds the right files, and works in a new environment, outside of the checkout."""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import FAST_COMPILATION, ROOT

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Builds the wheel from a copy of the checkout's files, because its build/ may hold old files."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    with tarfile.open(folder / "source.tar", "w") as tar:
        for file in filter(None, files.split("\0")):
            if (ROOT / file).exists():  # not those just removed
                tar.add(ROOT / file, file)
    with tarfile.open(folder / "source.tar") as tar:
        tar.extractall(folder / "source", filter="data")
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={folder}")
    subprocess.run([sys.executable, *build, str(folder / "source")], check=True)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def nge(wheel, tmp_path_factory):
    """Runs the installed command in an environment that has the wheel, and this one's packages beside it."""
    folder = tmp_path_factory.mktemp("installed")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = str(venv / "bin" / "python")
    install = ("-m", "pip", f"--python={python}", "install", "--quiet", "--no-deps")
    subprocess.run([sys.executable, *install, "--no-index", str(wheel)], check=True)
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([python, "-c", query], check=True, capture_output=True, text=True)
    # A line of a .pth file adds a folder at the end of the path. The .pth files in that folder are not read: an
    # editable checkout that is installed there is not found.
    (Path(packages.stdout.strip()) / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env |= {"XLA_FLAGS": FAST_COMPILATION, "XDG_CACHE_HOME": str(folder / "cache")}

    def run(*arguments, command="nge"):
        done = subprocess.run(
            [str(venv / "bin" / command), *arguments],
            cwd=elsewhere,
            env=env,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.folder = elsewhere
    return run


def test_the_wheel_holds_all_modules_the_configs_and_the_data_files(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {str(file.relative_to(ROOT)) for file in (ROOT / "nge_jax").rglob("*.py")}
    expected |= {f"nge_jax/configs/{file.name}" for file in (ROOT / "configs").glob("*.py")}
    expected |= {"nge_jax/py.typed"}
    templates = (ROOT / "nge_jax" / "report" / "templates").glob("*")
    expected |= {f"nge_jax/report/templates/{file.name}" for file in templates}
    assert expected <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"nge_jax"}


def test_the_installed_package_is_the_wheel(nge):
    code = "import nge_jax; print(nge_jax.__file__)"
    assert "/installed" in nge("-c", code, command="python")


def test_a_search_by_name_from_any_folder_and_the_command_that_it_ends_with(nge):
    tiny = ("network.cells=1", "search.images_per_epoch=24")  # the fastest to compile
    printed = nge("search", "search_digits:gradient,smoke", *tiny)
    workdir = nge.folder / "runs" / "search_digits-gradient-smoke"
    assert (workdir / "report.html").is_file()
    (command,) = re.findall("to train this cell: nge (.+)", printed)
    summary = nge(*shlex.split(command), "--summary")
    assert "genotype.json on digits" in summary


def test_a_cell_is_drawn(nge):
    nge("show", "DARTS_V2", "-o", "cell.svg")
    assert "<svg" in (nge.folder / "cell.svg").read_text()
