import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests share the cores of the machine with one another; more threads would wait for each other."""
    torch.set_num_threads(1)
