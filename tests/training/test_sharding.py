import pytest
import torch

from tests.processes import run_module

pytestmark = pytest.mark.slow


def steps(processes, out, *before):
    """Run `tests.training.sharded_steps`; what it wrote."""
    run_module(processes, "tests.training.sharded_steps", out, *before)
    return torch.load(out, weights_only=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharding")
    return folder, steps(1, folder / "one.pt"), steps(2, folder / "two.pt")


def test_spread_networks_make_the_steps_of_one_process(runs):
    _, one, two = runs
    torch.testing.assert_close(two["losses"], one["losses"], rtol=1e-4, atol=1e-6)
    for name in ("generator", "discriminator"):
        for key, value in one["state"][name].items():
            # Adam moves a bias that no loss depends on by the sign of a rounding error.
            if key != "head.bias":
                torch.testing.assert_close(two["state"][name][key], value, rtol=1e-3, atol=1e-4, msg=f"{name}.{key}")


def test_each_process_holds_about_half(runs):
    _, one, two = runs
    assert 0.45 < two["held"] / one["held"] < 0.62


def test_a_gathered_state_goes_on_with_any_number_of_processes(runs):
    folder, _, _ = runs
    expected = steps(1, folder / "one_one.pt", folder / "one.pt")["losses"]
    torch.testing.assert_close(
        steps(2, folder / "one_two.pt", folder / "one.pt")["losses"], expected, rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        steps(1, folder / "two_one.pt", folder / "two.pt")["losses"], expected, rtol=1e-3, atol=1e-5
    )
