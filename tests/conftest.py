"""What every test runs under: shapes and types checked at each call, two threads."""

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

# Before torch and numpy are imported: several tests at once have a core each, and so has what they begin.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import jaxtyping
import pytest
import torch

import tests.typecheck  # noqa: F401  (the hook below looks it up by name)

# Before anything imports triton: without a GPU its kernels run interpreted.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Before anything of eos is imported: annotations such as Float[Tensor, "B T H K"] become checks.
_HOOK = jaxtyping.install_import_hook(["eos", "stages"], "tests.typecheck.checked")


class _Unchecked(importlib.abc.MetaPathFinder):
    """Finds the kernels as they are: Triton reads their source, and a check around them is not its language."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("eos.engine.triton.kernels"):
            return None
        return importlib.machinery.PathFinder.find_spec(fullname, path, target)


sys.meta_path.insert(0, _Unchecked())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked ``one_in(n)`` every n-th case stays in the fast set, the rest become slow.

    Tests start at different cases, so that every recipe meets some of the properties, and every property some recipes.
    """
    counts: dict[str, int] = {}
    for item in items:
        mark = item.get_closest_marker("one_in")
        if mark is not None:
            name = item.nodeid.partition("[")[0]
            counts[name] = counts.get(name, sum(name.encode())) + 1
            if counts[name] % mark.args[0]:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(scope="session", autouse=True)
def _no_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tiles that the user of this machine measured are not read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For tests of tiny tensors, where threads that wait for each other cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def untyped() -> Iterator[None]:
    """For calls whose types are not checked: sizes that are symbols are not ints."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def small_calls(untyped: None) -> Iterator[None]:
    """For thousands of tiny calls, of which type checks and a second thread would be most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _cuda_where_marked(request: pytest.FixtureRequest) -> None:
    """A test marked ``gpu`` skips, with the reason, on a machine without one."""
    if request.node.get_closest_marker("gpu") is not None and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
