"""Position codes: the code of a grid is made of sines of rows and columns, and equals that of its cell centres."""

import pytest
import torch

from opensam.models.prompt_encoder import PositionEmbeddingRandom


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("origin", [(0, 0), (2, 7)], ids=str)
def test_the_code_of_a_grid_is_that_of_its_cell_centres(dtype: torch.dtype, origin: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = PositionEmbeddingRandom(16).to(dtype)
    code = layer((5, 3), origin, side=64.0)
    assert code.shape == (32, 5, 3)
    for row in range(5):
        for column in range(3):
            centre = torch.tensor([origin[1] + column + 0.5, origin[0] + row + 0.5], dtype=dtype) / 64
            tolerance = 1e-5 if dtype == torch.float32 else 1e-12
            torch.testing.assert_close(code[:, row, column], layer.encode(centre), atol=tolerance, rtol=0)
