"""The decoder for browsers: an address that changes with the model, and a file that is made once."""

import copy

import pytest
import torch
from safetensors.torch import load
from tests.serve.serving import client_of, make_app, small_predictor

from opensam.export.browser import browser_decoder
from opensam.serve import decoder
from opensam.serve.decoder import decoder_key


def test_browsers_keep_the_decoder_under_the_address_of_its_model() -> None:
    client = client_of(make_app())
    url = client.get("/v1/models").json()["decoder"]["url"]
    assert url == f"/v1/decoder.safetensors?v={decoder_key(small_predictor().sam)}"
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "immutable" in answer.headers["cache-control"]
    got, expected = load(answer.content), load(browser_decoder(small_predictor().sam))
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], value) for name, value in expected.items())


@pytest.mark.parametrize("query", ["", "?v=0123456789abcdef"])
def test_under_another_address_browsers_ask_for_the_decoder_again(query: str) -> None:
    answer = client_of(make_app()).get(f"/v1/decoder.safetensors{query}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"


def test_the_decoder_is_made_once_and_only_if_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(decoder, "browser_decoder", lambda sam: made.append(sam) or b"weights")
    client = client_of(make_app())
    client.get("/v1/models")
    assert made == []
    assert [client.get("/v1/decoder.safetensors").content for _ in range(2)] == [b"weights"] * 2
    assert made == [small_predictor().sam]


@pytest.mark.parametrize("name", ["mask_decoder.iou_token.weight", "prompt_encoder.no_mask_embed.weight"])
def test_the_key_changes_with_the_decoder_and_not_with_the_image_encoder(name: str) -> None:
    sam = copy.deepcopy(small_predictor().sam)
    key = decoder_key(sam)
    with torch.no_grad():
        next(sam.image_encoder.parameters()).add_(1)
        assert decoder_key(sam) == key
        sam.get_parameter(name).add_(1)
    assert decoder_key(sam) != key
