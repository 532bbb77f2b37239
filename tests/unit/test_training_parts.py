"""Tokenizer, configs, weighting, stored latents and inflation of the training chain, in small."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from models.inflate import inflate
from models.nano import flat_unet
from models.noise_prior import with_appearance
from models.schedule import Schedule
from models.spec import NANO
from models.training import video_set
from models.training.caption_reading import CaptionReader
from models.training.captions import (
    MOTION_PHRASES,
    TRAIN_TEMPLATES,
    caption,
    combinations,
    draw_scenes,
    other_look,
    split_of,
)
from models.training.chain import Chain
from models.training.config import table
from models.training.first_step import Example, FirstStep
from models.training.loop import Plan
from models.training.objective import Objective, weighted_error
from models.training.tokenizer import END, START, make_tokenizer, save_with_plain_files
from models.training.train_vae import VaeShape, build_vae, decoder_loss, frame_batch, vae_loss
from models.training.video_set import ClipSet, VideoSet
from models.training.warm_start import Start, begun_autoencoder
from models.unet import is_added

CONFIGS = Path(video_set.__file__).parent


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    rng = np.random.default_rng(0)
    captions = [caption(scene, rng, TRAIN_TEMPLATES) for scene in draw_scenes(800, 0, "train")]
    return make_tokenizer(captions, vocabulary=1200, model_max_length=32)


def test_every_word_of_a_caption_is_one_token(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("a magenta triangle moving to the left on a beige background").input_ids
    assert len(ids) == 11 + 2
    assert tokenizer.convert_ids_to_tokens([ids[0], ids[-1]]) == [START, END]


def test_vocabulary_is_in_clip_order(tokenizer: CLIPTokenizer) -> None:
    vocabulary = tokenizer.get_vocab()
    assert vocabulary["a"] < 256 <= vocabulary["a</w>"] < 512
    assert (vocabulary[START], vocabulary[END]) == (len(vocabulary) - 2, len(vocabulary) - 1)


def test_any_unicode_prompt_encodes_and_comes_back(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    save_with_plain_files(tokenizer, tmp_path)
    assert (tmp_path / "merges.txt").exists()
    again = CLIPTokenizer.from_pretrained(tmp_path)
    text = "日本 🎈 ÿ qqq"
    ids = again(text, padding="max_length", truncation=True, max_length=32).input_ids
    assert len(ids) == 32
    assert again.decode(ids, skip_special_tokens=True).strip() == text
    assert ids == tokenizer(text, padding="max_length", truncation=True, max_length=32).input_ids


@pytest.mark.parametrize("name", ["vae.toml", "text_to_image.toml", "image_to_video.toml"])
def test_shipped_configs_parse(name: str) -> None:
    assert table(CONFIGS / name, "plan", Plan).minutes > 0


def test_every_step_of_the_chain_has_its_script_and_config() -> None:
    chain = table(CONFIGS / "chain.toml", "chain", Chain)
    for script, config in zip(chain.scripts, chain.configs, strict=True):
        assert (CONFIGS / f"{script.rsplit('.', 1)[1]}.py").exists()
        assert (CONFIGS / config).exists()


def test_config_names_unknown_and_missing_keys(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[clips]\nclips = 1\nframes = 2\nsiez = 64\nseed = 1\n")
    with pytest.raises(ValueError, match=r"bad.toml \[clips\].*'siez'.*'size'"):
        table(path, "clips", ClipSet)
    with pytest.raises(ValueError, match=r"no \[plan\] table"):
        table(path, "plan", Plan)


def test_weights_of_noisy_and_of_clean_steps_stay_between_floor_and_cap() -> None:
    objective = Objective(0.00085, 0.012, 1000, snr_cap=5.0, text_dropped=0.1, snr_floor=0.3)
    schedule = objective.schedule()
    zeros, ones = torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2)

    def weight(timestep: int) -> tuple[float, float]:
        bar = float(schedule.alpha_bar[timestep])
        weighted = weighted_error(schedule, zeros, ones, torch.tensor([timestep]), objective)
        return float(weighted), bar / (1 - bar)

    for timestep, kept in ((999, 0.3), (0, 5.0)):  # x_0's error counts as if SNR were floor or cap
        error, snr = weight(timestep)
        assert error == pytest.approx(kept / snr, rel=1e-4)
    error, snr = weight(400)
    assert 0.3 < snr < 5.0
    assert error == pytest.approx(1.0)


def test_first_step_starts_where_sampling_starts_and_leads_to_the_clip() -> None:
    schedule, source = Schedule(), torch.Generator().manual_seed(4)
    clean, noise = (
        torch.randn(64, 3, 2, 2, 2, generator=source),
        torch.randn(64, 3, 2, 2, 2, generator=source),
    )
    z_c, t = clean[:, 1], torch.full((64,), 500)
    ordinary = Example(schedule.noised(clean, noise, t), t, noise)

    none = FirstStep(share=0.0, gamma=0.02).mixed(schedule, clean, z_c, noise, ordinary, source)
    assert torch.equal(none.z, ordinary.z)
    assert torch.equal(none.target, noise)

    mixed = FirstStep(share=0.5, gamma=0.02).mixed(schedule, clean, z_c, noise, ordinary, source)
    starts = mixed.t != 500
    assert 16 < int(starts.sum()) < 48
    assert int(mixed.t[starts].min()) >= 900
    assert torch.equal(
        mixed.z[starts], with_appearance(noise, z_c, 0.02)[starts]
    )  # nothing of the clip in it
    bar = schedule.alpha_bar[mixed.t].view(-1, 1, 1, 1, 1)
    x_0 = (mixed.z - (1 - bar).sqrt() * mixed.target) / bar.sqrt()  # what a sampler makes of the target
    torch.testing.assert_close(x_0, clean, atol=2e-5, rtol=0)
    assert torch.equal(mixed.z[~starts], ordinary.z[~starts])


def test_reader_learns_what_captions_say_and_empty_captions_teach_nothing() -> None:
    torch.manual_seed(3)
    scenes = draw_scenes(12, seed=3, split="train")
    captions = [f"caption {n}" for n in range(12)]
    reader = CaptionReader(text_width=16)
    states = torch.randn(12, 3, 16, requires_grad=True)
    untaught = float(reader.loss(states, captions, scenes).detach())
    assert float(reader.loss(states, [""] * 12, scenes).detach()) == 0
    optimizer = torch.optim.Adam([*reader.parameters(), states], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss = reader.loss(states, ["", *captions[1:]], scenes)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(loss.detach()) < 0.1 < untaught
    assert states.grad is not None
    assert torch.count_nonzero(states.grad[0]) == 0  # the one whose caption is empty
    assert torch.count_nonzero(states.grad[1:, :-1]) == 0  # only the last token is read


def test_objective_builds_the_schedule_that_serving_uses() -> None:
    assert table(CONFIGS / "text_to_image.toml", "objective", Objective).schedule() == Schedule()
    assert table(CONFIGS / "image_to_video.toml", "objective", Objective).schedule() == Schedule()


TINY_VAE = VaeShape(
    (8, 8, 8, 8), latent_channels=4, norm_num_groups=4, object_weight=9.0, kl_weight=1e-6, whitening=0.7
)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    vae = build_vae(TINY_VAE)
    vae.register_to_config(scaling_factor=2.0)
    vae.save_pretrained(tmp_path / "vae")
    (tmp_path / "video_set.toml").write_text(
        "[clips]\nclips = 10\nframes = 4\nsize = 64\nseed = 1\nthreads = 1\n"
    )
    return tmp_path


def test_latents_are_stored_once_scaled_and_in_order(work: Path) -> None:
    config = work / "video_set.toml"
    stored = video_set.build(config, work)
    written = stored.stat().st_mtime_ns
    assert video_set.build(config, work).stat().st_mtime_ns == written
    videos = VideoSet.load(config, work)
    vae = AutoencoderKL.from_pretrained(work / "vae").eval()
    alone = torch.from_numpy(
        video_set.encode(vae, video_set.rendered([videos.scenes[7]], table(config, "clips", ClipSet)))
    ).float()
    clips = videos.clips(np.array([7, 2]))
    assert clips.shape == (2, 4, 4, 8, 8)
    torch.testing.assert_close(clips[0], alone[0], rtol=0, atol=2e-3)
    torch.testing.assert_close(videos.frames(np.array([7]), np.array([3]))[0], clips[0, 3])


def test_encoding_goes_on_after_a_kill(work: Path) -> None:
    config = work / "video_set.toml"
    whole = np.load(video_set.build(config, work))
    partial = np.zeros_like(whole)
    partial[:8] = whole[:8]
    partial[0] = 7.0  # a mark: what was done is not done again
    (work / "latents.npy").unlink()
    np.save(work / "latents.partial.npy", partial)
    (work / "latents.count").write_text("8")
    again = np.load(video_set.build(config, work))
    assert (again[0] == 7.0).all()
    np.testing.assert_array_equal(again[1:], whole[1:])


def test_some_captions_are_dropped_and_the_rest_describe_their_clip(work: Path) -> None:
    videos = VideoSet.load(work / "video_set.toml", video_set.build(work / "video_set.toml", work).parent)
    numbers = np.zeros(400, dtype=np.int64)
    captions = videos.captions(numbers, np.random.default_rng(0), dropped=0.1)
    empty = captions.count("")
    assert 15 <= empty <= 75
    assert sum(videos.scenes[0].shape in text for text in captions) == 400 - empty


def test_rotating_clips_are_drawn_as_often_as_asked(work: Path) -> None:
    videos = VideoSet.load(work / "video_set.toml", video_set.build(work / "video_set.toml", work).parent)
    turning = np.array([scene.motion == "rotating" for scene in videos.scenes])
    assert 0 < turning.sum() < len(turning)
    rng = np.random.default_rng(0)
    for weight in (1.0, 3.0):
        drawn = turning[videos.draw(rng, 4000, weight)].mean()
        expected = weight * turning.sum() / (weight * turning.sum() + (~turning).sum())
        assert abs(drawn - expected) < 0.03


def test_contrary_captions_change_the_looks_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    for told in combinations("train") + combinations("held_out"):
        other = other_look(told, rng)
        assert other.motion == told.motion
        assert other.color != told.color
        assert other.background != told.background
        assert split_of(other) == "train"


def test_as_many_captions_are_contrary_as_asked(work: Path) -> None:
    videos = VideoSet.load(work / "video_set.toml", video_set.build(work / "video_set.toml", work).parent)
    captions = videos.captions(np.zeros(400, dtype=np.int64), np.random.default_rng(0), 0.0, contrary=0.25)
    shown = videos.scenes[0]
    contrary = sum(shown.color not in text for text in captions)
    assert 70 <= contrary <= 130
    phrases = MOTION_PHRASES[shown.motion]
    assert sum(any(phrase in text for phrase in phrases) for text in captions) > 380  # few leave it out


def test_vae_frames_come_with_the_mask_of_their_object() -> None:
    pixels, mask = frame_batch(6, (1, 2), "train")
    assert pixels.shape == (6, 3, 64, 64)
    assert float(pixels.abs().max()) <= 1.0
    corner = pixels[:, :, :1, :1]
    assert ((pixels != corner).any(dim=1, keepdim=True).float() == mask).all()
    assert (mask.flatten(1).mean(dim=1) > 0.02).all()


def test_vae_loss_depends_only_on_step_and_weights() -> None:
    torch.manual_seed(0)
    vae = build_vae(TINY_VAE)
    plan = Plan(minutes=1, learning_rate=1e-3, warmup_steps=1, batch=2, ema_decay=0.9, seed=3)
    first, second, other = (vae_loss(vae, TINY_VAE, step, plan) for step in (4, 4, 5))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_decoder_that_trains_on_leaves_the_latents_alone(work: Path) -> None:
    (work / "model_index.json").write_text("{}")
    vae = begun_autoencoder(Start(str(work)))
    assert vae is not None
    plan = Plan(minutes=1, learning_rate=1e-3, warmup_steps=1, batch=2, ema_decay=0.9, seed=3)
    exact, noisy, again = (
        decoder_loss(vae, replace(TINY_VAE, latent_noise=noise), 4, plan) for noise in (0.0, 0.5, 0.5)
    )
    assert torch.equal(noisy, again)
    assert not torch.equal(exact, noisy)
    noisy.backward()  # type: ignore[no-untyped-call]
    moving = {name.split(".")[0] for name, weight in vae.named_parameters() if weight.grad is not None}
    assert moving == {"decoder", "post_quant_conv"}


def test_inflation_freezes_exactly_the_spatial_weights() -> None:
    unet = flat_unet(NANO.unet)
    main, appearnet = inflate(unet, NANO.unet)
    for name, weight in main.named_parameters():
        assert weight.requires_grad == is_added(name), name
    assert all(weight.requires_grad for weight in appearnet.parameters())
    torch.testing.assert_close(main.state_dict()["conv_in.weight"], unet.state_dict()["conv_in.weight"])
