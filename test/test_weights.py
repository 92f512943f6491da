"""Published weights: fetched from a hub, recognized, loaded strictly, and what is wrong with them said by name."""

from __future__ import annotations

import hashlib
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import reference_manifest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from crossover_models.cli import main
from crossover_models.encoders import EncoderError
from crossover_models.encoders.blip import BlipText
from crossover_models.encoders.checkpoint import load_checkpoint
from crossover_models.encoders.dinov2 import DinoV2, value_block
from crossover_models.encoders.front_ends import FeatureSizes, open_front_ends
from crossover_models.encoders.network import UnifiedNetwork
from crossover_models.encoders.profile import REFERENCE, EncoderProfile
from crossover_models.encoders.weights_folder import VARIABLE
from crossover_models.reference.i2pmae import I2PMAE, farthest_points
from crossover_models.reference.importing import import_official

RNG = np.random.default_rng(0)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "chair", "by", "the", "table", "red"]


def official(
    path: Path, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Random tensors of official names and shapes, written as the hub has them: a folder named like a file."""
    g = torch.Generator().manual_seed(0)
    state = {
        name: torch.zeros(shape, dtype=torch.int64)
        if name.endswith("num_batches_tracked")
        else torch.rand(shape, generator=g, dtype=dtype) * 0.05
        for name, shape in shapes.items()
    }
    path.mkdir(parents=True)
    save_file(state, path / "model.safetensors")
    return state


@pytest.fixture(scope="module")
def small_dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hub") / "dinov2-small"
    Dinov2Model(
        Dinov2Config(hidden_size=24, num_hidden_layers=4, num_attention_heads=3, mlp_ratio=2, image_size=224)
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def small_blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BlipConfig, BlipForImageTextRetrieval

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hub") / "blip-large"
    text = {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 10,
        "encoder_hidden_size": 16, "max_position_embeddings": 12, "bos_token_id": 2, "sep_token_id": 3,
        "pad_token_id": 0,
    }  # fmt: skip
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BlipForImageTextRetrieval(BlipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def pictures(count: int) -> list[np.ndarray]:
    return [RNG.integers(0, 256, (40 + 10 * i, 60, 3), dtype=np.uint8) for i in range(count)]


def test_dinov2_gives_the_values_of_the_right_block(small_dino: Path) -> None:
    from transformers import Dinov2Model

    front_end, images = DinoV2(small_dino, "dinov2-small"), pictures(3)
    views, plans = front_end.views(images), front_end.plans(images)
    assert views.shape == (3, 48) and plans.shape == (3, 24)
    # Written out: block 3 of 4 (as 31 of 40), its values over the normalized input of that block.
    model = Dinov2Model.from_pretrained(small_dino).eval()
    block = value_block(4)
    assert (block, value_block(40), value_block(12)) == (3, 31, 9)
    from PIL import Image

    small = np.asarray(Image.fromarray(images[1]).resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float32)
    pixels = (small / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        hidden = model.embeddings(torch.from_numpy(pixels).float().permute(2, 0, 1)[None])
        for layer in model.encoder.layer[:block]:
            hidden = layer(hidden)
        layer = model.encoder.layer[block]
        values = functional.normalize(layer.attention.v_proj(layer.norm1(hidden)), dim=-1)[0]
    torch.testing.assert_close(plans[1], values[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(views[1], torch.cat([values[0], values[1:].mean(0)]), atol=1e-5, rtol=1e-4)


def test_blip_reads_text_without_an_image(small_blip: Path) -> None:
    from transformers import BlipForImageTextRetrieval

    front_end = BlipText(small_blip, "blip-large")
    both = front_end.texts(["a chair by the table", "red"])
    assert both.shape == (2, 24)
    torch.testing.assert_close(front_end.texts(["red"])[0], both[1], atol=1e-5, rtol=1e-4)
    encoder = BlipForImageTextRetrieval.from_pretrained(small_blip).text_encoder.eval()
    ids = torch.tensor([[2, 4, 5, 6, 7, 8, 3]])
    with torch.no_grad():
        want = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0, 0]
    torch.testing.assert_close(both[0], want, atol=1e-5, rtol=1e-4)
    assert front_end.texts([" ".join(["chair"] * 40)]).shape == (1, 24)


def test_front_ends_are_opened_by_the_profile(
    small_dino: Path, small_blip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    profile = EncoderProfile(image_front_end="dinov2-small", text_front_end="blip-large")
    with pytest.raises(EncoderError, match="crossover weights fetch dinov2-small"):
        open_front_ends(profile)
    for folder in (small_dino, small_blip):
        (tmp_path / folder.name).symlink_to(folder)
    image, text = open_front_ends(profile)
    assert (image.name, text.name) == ("dinov2-small", "blip-large")
    weights = (small_dino / "model.safetensors").read_bytes()
    assert image.weights_sha256 == hashlib.sha256(weights).hexdigest()
    with pytest.raises(EncoderError, match="image_front_end: unknown 'clip'"):
        open_front_ends(EncoderProfile(image_front_end="clip"))


def test_wrong_front_ends_are_refused(small_dino: Path, small_blip: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="model_type 'blip', expected dinov2"):
        DinoV2(small_blip, "dinov2-small")
    with pytest.raises(EncoderError, match="not the configuration of a BLIP"):
        BlipText(small_dino, "blip-large")
    (tmp_path / "config.json").write_text((small_dino / "config.json").read_text())
    state = load_file(small_dino / "model.safetensors")
    state.pop("encoder.layer.1.norm1.bias")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(EncoderError, match=r"missing tensor encoder\.layer\.1\.norm1\.bias"):
        DinoV2(tmp_path, "dinov2-small").views(pictures(1))


def test_points_of_an_object_give_one_vector_whatever_their_order_and_place() -> None:
    torch.manual_seed(0)
    model = I2PMAE().eval()
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(12.65, abs=0.01)
    points = torch.rand(1, 1024, 3) * torch.tensor([1.0, 0.5, 2.0])
    with torch.no_grad():
        vector = model(points)
        moved = model(points * 7.0 + torch.tensor([100.0, -3.0, 5.0]))
        # The sample starts at the first point, so the others may come in any order.
        shuffled = model(torch.cat([points[:, :1], points[:, 1:][:, torch.randperm(1023)]], dim=1))
    assert vector.shape == (1, 384)
    torch.testing.assert_close(moved, vector, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(shuffled, vector, atol=1e-4, rtol=1e-4)


def test_farthest_points_are_the_farthest() -> None:
    points = torch.rand(2, 40, 3)
    chosen = farthest_points(points, 6)
    for cloud, order in zip(points, chosen, strict=True):
        for k in range(1, 6):
            distance = torch.cdist(cloud, cloud[order[:k]]).amin(dim=1)
            assert float(distance[order[k]]) == pytest.approx(float(distance.max()))


def test_official_checkpoints_become_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Three files of 80 million numbers: in half precision, so that a small disk holds them.
    state = official(tmp_path / "scene_crossover_x.pth", reference_manifest.scene_crossover(), torch.bfloat16)
    assert main(["weights", "import", str(tmp_path / "scene_crossover_x.pth"), "--out", str(tmp_path / "out")]) == 0
    assert "scene_crossover" in capsys.readouterr().out
    whole = load_file(tmp_path / "out" / "scene_crossover.safetensors")
    assert whole.keys() == state.keys()
    assert all(torch.equal(whole[name], tensor) for name, tensor in state.items())
    checkpoint = load_checkpoint(str(tmp_path / "out" / "unified"))
    assert checkpoint.profile == REFERENCE
    unified = UnifiedNetwork(REFERENCE, FeatureSizes(3072, 1536, 768)).eval()
    unified.load_state_dict(checkpoint.state)
    with torch.no_grad():
        assert unified.text(torch.randn(1, 768)).norm() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kind", ["instance_baseline", "instance_crossover"])
def test_the_kind_is_read_off_the_tensors(kind: str, tmp_path: Path) -> None:
    official(tmp_path / "some.pth", getattr(reference_manifest, kind)())
    assert import_official(tmp_path / "some.pth", tmp_path / "out")[0] == kind


def test_i2pmae_comes_from_a_file_of_tensors_only(tmp_path: Path) -> None:
    state = I2PMAE().state_dict()
    torch.save({"base_model": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "pretrain.pth")
    kind, (path,) = import_official(tmp_path / "pretrain.pth", tmp_path / "out")
    assert kind == "i2pmae" and load_file(path).keys() == state.keys()

    class Anything:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "was_unpickled",))

    torch.save({"base_model": Anything()}, tmp_path / "evil.pth")
    with pytest.raises(EncoderError, match=r"evil\.pth: not a file of tensors"):
        import_official(tmp_path / "evil.pth", tmp_path / "out")
    assert not (tmp_path / "was_unpickled").exists()


def test_what_is_wrong_with_a_checkpoint_is_named(tmp_path: Path) -> None:
    shapes = reference_manifest.instance_baseline()

    def broken(name: str, change: dict[str, tuple[int, ...] | None]) -> Path:
        kept = {k: v for k, v in {**shapes, **change}.items() if v is not None}
        official(tmp_path / name, kept)
        return tmp_path / name

    for name, change, message in (
        ("missing", {"modality_projections.rgb.4.bias": None}, r"missing tensor modality_projections\.rgb\.4\.bias"),
        ("shape", {"modality_projections.cad.4.weight": (512, 192)}, r"has shape \(512, 192\), expected \(768, 192\)"),
        ("extra", {"modality_projections.smell.0.bias": (3,)}, r"unexpected tensor modality_projections\.smell"),
    ):
        with pytest.raises(EncoderError, match=message):
            import_official(broken(name, change), tmp_path / "out")
    official(tmp_path / "other", {"layers.0.weight": (2, 2)})
    with pytest.raises(EncoderError, match=r"none of scene_crossover.*first tensor is layers\.0\.weight"):
        import_official(tmp_path / "other", tmp_path / "out")
    (tmp_path / "cut.safetensors").write_bytes((broken("whole", {}) / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(EncoderError, match=r"cut\.safetensors: not a readable safetensors file"):
        import_official(tmp_path / "cut.safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as a download asks for."""

    files: dict[str, bytes] = {}  # noqa: RUF012
    repository, commit = "facebook/dinov2-small", "0" * 40

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0].strip("/")
        if path.startswith(f"api/models/{self.repository}"):
            info = {"id": self.repository, "modelId": self.repository, "sha": self.commit, "private": False}
            tree = [{"type": "file", "path": n, "oid": "0" * 40, "size": len(b)} for n, b in self.files.items()]
            siblings = [{"rfilename": name} for name in self.files]
            body = json.dumps(tree if "/tree/" in path else {**info, "siblings": siblings}).encode()
        elif path.startswith(f"{self.repository}/resolve/") and path.rsplit("/", 1)[1] in self.files:
            body = self.files[path.rsplit("/", 1)[1]]
        else:
            self.send_response(404)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _fetch(hub: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's address is read once, at import."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HF_ENDPOINT": hub,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        VARIABLE: str(folder / "weights"),
        "PYTHONPATH": ":".join(sys.path),
    }
    code = "import sys; from crossover_models.cli import main; sys.exit(main(['weights', 'fetch', 'dinov2-small']))"
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)


def test_fetch_downloads_what_the_front_end_reads(small_dino: Path, hub: str, tmp_path: Path) -> None:
    _Hub.files = {name: (small_dino / name).read_bytes() for name in ("config.json", "model.safetensors")}
    _Hub.files["pytorch_model.bin"] = b"nobody wants this"
    done = _fetch(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "weights" / "dinov2-small"
    assert {p.name for p in folder.iterdir() if p.is_file()} == {"config.json", "model.safetensors"}
    assert DinoV2(folder, "dinov2-small").views(pictures(1)).shape == (1, 48)


def test_fetch_says_what_is_missing(small_dino: Path, hub: str, tmp_path: Path) -> None:
    _Hub.files = {"config.json": (small_dino / "config.json").read_bytes()}
    done = _fetch(hub, tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("dinov2-small: facebook/dinov2-small has no model.safetensors")
    done = _fetch("http://127.0.0.1:9", tmp_path / "other")
    assert done.returncode == 2
    assert "dinov2-small: facebook/dinov2-small could not be fetched from the hub" in done.stderr
    assert "Traceback" not in done.stderr
