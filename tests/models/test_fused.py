"""One kernel or several, a linear layer and a convolution mean the same."""

import pytest
import torch
import torch.nn.functional as F

from opensam.models import fused


@pytest.fixture(autouse=True, params=["AVX512", "AVX2"])
def processor(request, monkeypatch):
    """The kernels of oneDNN are there with AVX2 too; they are only not the faster ones."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_linear_layer_takes_what_follows_it_along(dtype):
    x, weight, bias, add = (torch.randn(*shape, dtype=dtype) for shape in ((2, 5, 8), (6, 8), (6,), (2, 5, 6)))
    expected = x @ weight.T + bias
    torch.testing.assert_close(fused.linear(x, weight, bias), expected)
    torch.testing.assert_close(fused.linear(x, weight, bias, gelu=True), F.gelu(expected))
    kept = add.clone()
    torch.testing.assert_close(fused.linear(x, weight, bias, add=add), expected + add)
    assert torch.equal(add, kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("stride", "groups", "kernel"), [(1, 1, 3), (2, 1, 3), (1, 8, 3), (2, 8, 3), (1, 1, 1)])
def test_a_convolution_takes_what_follows_it_along(dtype, stride, groups, kernel):
    x, bias = torch.randn(2, 9, 6, 8, dtype=dtype), torch.randn(8, dtype=dtype)
    weight = torch.randn(8, 8 // groups, kernel, kernel, dtype=dtype)
    expected = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, stride, kernel // 2, groups=groups).permute(0, 2, 3, 1)
    given = {"stride": stride, "groups": groups}
    torch.testing.assert_close(fused.conv(x, weight, bias, **given), expected)
    torch.testing.assert_close(fused.conv(x, weight, bias, **given, gelu=True), F.gelu(expected))
    assert fused.conv(x, weight, bias, **given).is_contiguous()
