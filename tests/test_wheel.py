"""The wheel as a user gets it: what is in it, and that it works without this checkout."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_it_holds_the_two_packages_and_nothing_else(names: list[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "inngest_serverless",
        "inngest_sdk",
    }


def test_both_packages_are_typed(names: list[str]) -> None:
    assert {"inngest_serverless/py.typed", "inngest_sdk/py.typed"} <= set(names)


def test_every_file_that_is_not_python_came_along(names: list[str]) -> None:
    """The engine's SQL, for one, would be missed only at its first start."""
    for source, package in (("", "inngest_serverless"), ("sdk", "inngest_sdk")):
        files = {
            path.relative_to(ROOT / source).as_posix()
            for path in (ROOT / source / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert files <= set(names)


def test_it_carries_its_licence(names: list[str]) -> None:
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_imports_in_an_environment_that_has_nothing_else(wheel: Path, tmp_path: Path) -> None:
    """What an entrypoint loads at import is the standard library and this wheel."""
    clean = tmp_path / "clean"
    venv.create(clean, with_pip=False)
    bin_folder = "Scripts" if sys.platform == "win32" else "bin"
    python = str(clean / bin_folder / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True)
    code = (
        "import inngest_serverless.aws, inngest_serverless.asgi, inngest_serverless as i; i.Inngest"
    )
    subprocess.run([python, "-c", code], cwd=tmp_path, check=True)


def test_its_command_says_what_to_install_when_it_lacks_click(wheel: Path, tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    venv.create(clean, with_pip=False)
    bin_folder = "Scripts" if sys.platform == "win32" else "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(clean / bin_folder / "python"), "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", str(wheel)], check=True)
    done = subprocess.run(
        [str(clean / bin_folder / "inngest-serverless"), "runs"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "pip install 'inngest-serverless[dev]'" in done.stderr
    assert "Traceback" not in done.stderr
