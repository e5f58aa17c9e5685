"""Each part of the unified model gives the tensors of the published code."""

from __future__ import annotations

import pytest
import torch
from bagel.release import MANIFEST, PICTURES, cases, expected, pixels, source, worst
from PIL import Image

from tamis.bagel.flow import times
from tamis.bagel.model import Model
from tamis.bagel.pictures import SizeRule, from_patches, on_white, to_patches, to_pixels, to_tensor
from tamis.bagel.positions import grid_places, rotary, time_features

CLOSE = 1e-5


def test_ids(model: Model) -> None:
    words = model.words
    for case in cases("01_tokenizer"):
        assert words.ids(case["text"]) == case["ids"]
        assert words.wrapped(case["text"]) == case["wrapped"]
    marks = (words.text_start, words.text_end, words.picture_start, words.picture_end)
    assert marks == tuple(MANIFEST["special_token_ids"].values())


def test_sizes() -> None:
    table = cases("02_sizes")
    assert len(table) > 100
    for case in table:
        assert list(SizeRule(*case["args"]).size(*case["input_wh"])) == case["output_wh"], case


@pytest.mark.parametrize("name", PICTURES)
def test_transforms(model: Model, name: str) -> None:
    wanted = {key.removeprefix(f"{name}."): value for key, value in expected("02_transforms").items() if key.startswith(name)}
    resized = model.resized(source(name))
    seen = to_tensor(model.vision_rule.resize(resized))
    assert torch.equal(pixels(on_white(source(name))), wanted["rgb"])
    assert torch.equal(pixels(resized), wanted["vae_resized"])
    assert worst(to_tensor(resized), wanted["vae_tensor"]) < CLOSE
    assert worst(seen, wanted["vit_tensor"]) < CLOSE
    assert worst(to_patches(seen, 14), wanted["vit_patches"]) < CLOSE
    assert torch.equal(grid_places(seen.shape[1] // 14, seen.shape[2] // 14, 70), wanted["vit_position_ids"])
    assert torch.equal(grid_places(*model.latent_grid(resized.size), 64), wanted["latent_position_ids"])


def test_transparent_palettes_are_pasted_on_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.putdata([0, 1])
    palette.info["transparency"] = 0
    assert pixels(on_white(palette)).tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_autoencoder(model: Model) -> None:
    wanted = {key: value[0] if value.shape[0] == 1 else value for key, value in expected("03_vae").items()}
    autoencoder = model.autoencoder
    latents = autoencoder.encode(wanted["x"], wanted["eps"])
    assert worst(autoencoder.moments(wanted["x"]), wanted["moments"]) < CLOSE
    assert worst(autoencoder.encode(wanted["x"], None), wanted["z_mean"]) < CLOSE
    assert worst(latents, wanted["z_sample"]) < CLOSE
    assert worst(to_patches(latents, 2), wanted["z_sample_patches"]) < CLOSE
    assert torch.equal(from_patches(wanted["z_sample_patches"], 2, 3, 4), wanted["z_sample"])
    decoded = autoencoder.decode(wanted["z_sample"])
    assert worst(decoded, wanted["decoded"]) < CLOSE
    assert worst((decoded / 2 + 0.5).clamp(0, 1), wanted["decoded01"]) < CLOSE
    assert torch.equal(to_pixels(wanted["decoded"]), wanted["decoded_uint8"])
    assert worst(to_pixels(decoded), wanted["decoded_uint8"]) <= 1


@pytest.mark.parametrize("name", ["p1", "p2"])
def test_vision(model: Model, name: str) -> None:
    wanted, transforms = expected("04_modules"), expected("02_transforms")
    places = transforms[f"{name}.vit_position_ids"]
    features = model.weights.vit_model(transforms[f"{name}.vit_patches"], places)
    assert worst(features, wanted[f"{name}.vit_out"]) < CLOSE
    assert worst(model.weights.connector(wanted[f"{name}.vit_out"]), wanted[f"{name}.connector"]) < CLOSE
    assert worst(model.seen(model.resized(source(name)))[1:-1], wanted[f"{name}.llm_in"]) < CLOSE


def test_positions_and_times(model: Model) -> None:
    wanted = expected("04_modules")
    assert worst(time_features(wanted["t"]), wanted["t_sinusoid"]) < CLOSE
    assert worst(model.weights.time_embedder(wanted["t"]), wanted["t_embed"]) < CLOSE
    assert torch.equal(model.weights.latent_pos_embed.pos_embed[wanted["latent_pos_ids"]], wanted["latent_pos_embed"])
    language = model.shape.language
    cos, sin = rotary(wanted["rope_positions"], language.head_dim, language.rope_theta)
    assert worst(cos, wanted["rope_cos"]) < CLOSE
    assert worst(sin, wanted["rope_sin"]) < CLOSE
    for num_steps in (8, 50):
        assert worst(times(num_steps, 3.0), wanted[f"timesteps_{num_steps}_shift3"]) < 1e-6
