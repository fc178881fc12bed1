"""A picture classifier that was made elsewhere is a version like any other, or is refused."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn

from cluster.base.errors import Conflict, InvalidInput, NotFound
from cluster.registry.versions import Registry
from cluster.training.importing import Import, files_of, register
from services.cli import show, verbs
from services.local import catalog, rows
from tests.support import trained_side
from tests.toy import Side
from vision.classify import Classify, Input
from vision.embed import Embed

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's and torch's, of their dependencies

LABELS = ["dark", "light", "mixed"]


class Nearest(nn.Module):
    """Logits by how near the mean of a picture, from 0 to 1, is to that of each label."""

    def __init__(self, *, nhwc: bool = False, softmax: bool = False) -> None:
        super().__init__()
        self.nhwc, self.softmax = nhwc, softmax

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape[3 if self.nhwc else 1] == 3
        logits = -20 * (pixels.mean((1, 2, 3))[:, None] - torch.tensor([0.0, 1.0, 0.5])) ** 2
        return logits.softmax(1) if self.softmax else logits


def exported(path: Path, network: nn.Module, shape: Sequence[int], *, fixed: bool = False) -> Path:
    """Export a network by torch, as its users do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fixture is not covered by the mark
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, *shape),),
            f=path,
            dynamo=True,
            external_data=False,
            dynamic_shapes=None if fixed else ({0: torch.export.Dim.DYNAMIC},),
            verbose=False,
        )
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three graphs, and their labels."""
    folder = tmp_path_factory.mktemp("given")
    exported(folder / "model.onnx", Nearest(), (3, 10, 12))
    exported(folder / "nhwc.onnx", Nearest(nhwc=True, softmax=True), (10, 12, 3))
    (folder / "labels.json").write_text(json.dumps(LABELS))
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def tinted(value: int) -> Input:
    return Input.model_construct(image=np.full((30, 20, 3), value, np.uint8), top_k=3)


def ask(task: Classify, *values: int) -> list[str]:
    rows = [tinted(value) for value in values]
    return [answer.label for answer in task.predict(task.complete(task.batch(rows)))]


def refused(path: Path, labels: Path, **options: str) -> InvalidInput:
    """The error of an import, which leaves nothing behind."""
    home = path.parent / "home"
    with pytest.raises(InvalidInput) as raised:
        register(Import(Classify, [path, labels], options, None, home), print)
    assert not Registry(home).versions("vision.classify")
    return raised.value


@pytest.mark.parametrize("name", ["model.onnx", "nhwc.onnx"])
def test_a_graph_answers_pictures_in_the_order_of_axes_that_it_takes(
    tmp_path: Path, folder: Path, name: str
) -> None:
    Classify.import_model([folder / name, folder / "labels.json"], {}, tmp_path)
    task = Classify.load(tmp_path)
    assert ask(task, 3, 250, 130) == ["dark", "light", "mixed"]
    (answer,) = task.predict(task.complete(task.batch([tinted(0)])))
    expected = np.exp(-20 * np.array([0, 1, 0.25])).tolist()
    found = {guess.label: guess.probability for guess in answer.top}
    assert [found[label] for label in LABELS] == pytest.approx(
        [one / sum(expected) for one in expected], rel=1e-3
    )


def test_values_are_scaled_and_shifted_as_the_options_say(tmp_path: Path, folder: Path) -> None:
    options = {"scale": "1", "mean": "10,10,10", "std": "100"}
    says = Classify.import_model([folder / "model.onnx", folder / "labels.json"], options, tmp_path)
    (sentence,) = says
    assert sentence == (
        "Pictures are given as nchw, 10x12 with 3 channels, divided by 1, less mean 10, 10, 10, "
        "divided by std 100."
    )
    assert ask(Classify.load(tmp_path), 10, 110, 60) == ["dark", "light", "mixed"]


def test_a_graph_of_flat_rows_takes_pictures_of_the_size_given(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(8 * 6 * 3, 3))
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    path = exported(tmp_path / "flat.onnx", network, (8 * 6 * 3,))
    (tmp_path / "version").mkdir()
    Classify.import_model([path, tmp_path / "labels.txt"], {"size": "8x6"}, tmp_path / "version")
    task = Classify.load(tmp_path / "version")
    assert (task.state["height"], task.state["width"], task.state["channels"]) == (8, 6, 3)
    said = str(refused(path, tmp_path / "labels.txt", size="8x7"))
    assert said.startswith("flat.onnx takes 144 numbers a row, and pictures of 8x7 have 56 or 168.")
    assert "flat.onnx takes arrays of 2 axes" in str(refused(path, tmp_path / "labels.txt"))


def test_vectors_of_a_graph_are_brought_to_unit_length(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(8 * 8, 4))
    path = exported(tmp_path / "model.onnx", network, (1, 8, 8))
    (tmp_path / "version").mkdir()
    Embed.import_model([path], {}, tmp_path / "version")
    task = Embed.load(tmp_path / "version")
    answers = task.predict(task.complete(task.inputs.sample(5, np.random.default_rng(0))))
    assert [np.linalg.norm(one.vector) for one in answers] == pytest.approx([1] * 5, rel=1e-5)


def test_an_imported_model_is_registered_promoted_and_said_to_be_never_measured(
    home: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(folder / "model.onnx"), str(folder / "labels.json"), "scale=255"]
    said: list[str] = []
    made = verbs.import_model("vision.classify", given, said.append)
    assert (made.version, made.metrics, made.config) == (1, {}, {"scale": "255"})
    assert [*made.source] == ["model.onnx", "labels.json"]
    assert said[0].startswith("It is not measured: ")
    card = (home / "registry" / "vision.classify" / "1" / "card.md").read_text()
    assert f"from `model.onnx` (SHA-256 {made.source['model.onnx']}), `labels.json`" in card
    assert "Which rows it learnt from is not known." in card
    show.manifest(made)
    assert capsys.readouterr().out == "vision.classify version 1: never measured.\n"
    assert Registry(home).aliases("vision.classify") == {"candidate": 1}
    assert verbs.import_model("vision.classify", given, said.append).version == 1
    sentence = verbs.promote("vision.classify", "candidate")
    assert sentence == "Version 1 of vision.classify is in production (never measured)."
    assert verbs.versions("vision.classify")[1]["production"] == 1


def test_an_imported_model_is_measured_on_the_test_rows_that_are_stored(
    home: Path, folder: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for label, low in (("dark", 0), ("light", 205), ("mixed", 100)):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(low, low + 50, (12, 14, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / label / f"{number}.png")
    rows.ingest("images", [str(tmp_path / "pictures")], "", 0.01)
    given = [str(folder / "model.onnx"), str(folder / "labels.json")]
    made = verbs.import_model("vision.classify", given, print)
    assert made.metrics["accuracy"] == 1.0
    assert made.rows["test"] > 0
    turned = tmp_path / "labels.json"
    turned.write_text(json.dumps(LABELS[::-1]))
    verbs.promote("vision.classify", "1")
    worse = verbs.import_model("vision.classify", [given[0], str(turned)], print)
    assert worse.version == 2
    with pytest.raises(Conflict, match="worse than"):
        verbs.promote("vision.classify", "2")


@pytest.mark.slow
def test_a_version_that_was_never_measured_replaces_none_unless_it_is_forced(
    home: Path, folder: Path
) -> None:
    given = [str(folder / "model.onnx"), str(folder / "labels.json")]
    verbs.import_model("vision.classify", given, print)
    verbs.promote("vision.classify", "1")
    verbs.import_model("vision.classify", [*given, "scale=200"], print)
    with pytest.raises(
        Conflict, match=r"Version 2 of vision.classify was imported and never measured, so "
    ):
        verbs.promote("vision.classify", "2")
    assert "Version 2" in verbs.promote("vision.classify", "2", force=True)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    for name in ("model.pkl", "model.joblib", "model.pt"):
        with pytest.raises(InvalidInput) as raised:
            files_of([str(tmp_path / name)])
        assert str(raised.value).startswith(
            f"{name} may be a pickle, which runs code when it is opened: it is not read. "
            "Export the model to ONNX"
        )
    with pytest.raises(NotFound, match="There is no file"):
        files_of([str(tmp_path / "model.onnx")])


def test_labels_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    for held, sentence in (
        ('["a", "b"]', "model.onnx gives 3 numbers a row, and there are 2 labels."),
        ('["a", "b", "a"]', "labels.json has the label 'a' 2 times."),
        ('{"0": "a", "2": "b"}', "The keys of labels.json are not 0 to 1."),
        ("[1, 2]", "labels.json is no list of labels."),
        ("[", "labels.json cannot be read: "),
        ("[]", "No row has a label."),
    ):
        labels.write_text(held)
        assert str(refused(folder / "model.onnx", labels)).startswith(sentence)
    labels.write_text('{"1": "b", "0": "a", "2": "c"}')
    (tmp_path / "version").mkdir()
    Classify.import_model([folder / "model.onnx", labels], {}, tmp_path / "version")
    assert Classify.load(tmp_path / "version").state["labels"] == ["a", "b", "c"]


def test_options_that_do_not_fit_are_refused(folder: Path) -> None:
    path, labels = folder / "model.onnx", folder / "labels.json"
    for name, value, sentence in (
        ("sise", "8x8", "A model has no option 'sise'. Did you mean 'size'?"),
        ("size", "8", "size=8 is no height and width."),
        ("size", "8x8", "model.onnx takes pictures of 10x12 as nchw; size=8x8 does not fit."),
        ("layout", "chw", "layout=chw is none of nchw, nhwc, flat."),
        ("layout", "nhwc", "model.onnx takes 12 channels as nhwc; pictures have 1 or 3."),
        ("mean", "a", "mean=a is no number."),
        ("mean", "1,2", "mean= has 2 numbers; model.onnx takes 3 channels."),
        ("std", "0", "scale= and std= divide: none may be 0"),
        ("output", "x", "model.onnx gives "),
    ):
        assert str(refused(path, labels, **{name: value})).startswith(sentence)


def graph(path: Path, inputs: int = 1, kind: int = TensorProto.FLOAT, opset: int = 18) -> Path:
    """A graph made by hand: its inputs' mean over all axes but the first, three times."""
    values = [helper.make_tensor_value_info(f"x{n}", kind, ["n", 3, 8, 8]) for n in range(inputs)]
    weights = numpy_helper.from_array(np.zeros((192, 3), np.float32), "w")
    nodes = [
        helper.make_node("Flatten", ["x0"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    made = helper.make_graph(nodes, "given", values, [out], [weights])
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=10), path)
    return path


def test_graphs_that_cannot_be_asked_are_refused(folder: Path, tmp_path: Path) -> None:
    labels = folder / "labels.json"
    two = refused(graph(tmp_path / "two.onnx", inputs=2), labels)
    assert str(two).startswith("two.onnx has 2 inputs ('x0': float, 'x1': float); one is needed.")
    words = refused(graph(tmp_path / "words.onnx", kind=TensorProto.STRING), labels)
    assert str(words).startswith("The input 'x0' of words.onnx is string; float32, ")
    new = refused(graph(tmp_path / "new.onnx", opset=99), labels)
    assert str(new).startswith("new.onnx is of opset 99; 7 to ")
    fixed = refused(exported(tmp_path / "one.onnx", Nearest(), (3, 8, 8), fixed=True), labels)
    assert "of one.onnx is fixed at 2; requests come in batches of any size." in str(fixed)
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no graph")
    assert str(refused(bad, labels)).startswith("bad.onnx is no ONNX model: ")


def test_weights_in_a_file_beside_are_read_and_missed(folder: Path, tmp_path: Path) -> None:
    model = onnx.load(graph(tmp_path / "inside.onnx"))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="model.data", size_threshold=0)
    (tmp_path / "version").mkdir()
    Classify.import_model([path, folder / "labels.json"], {}, tmp_path / "version")
    assert len(ask(Classify.load(tmp_path / "version"), 3, 4)) == 2
    before = Import(Classify, [path], {}, None, tmp_path)
    assert [*before.source] == ["model.onnx", "model.data"]
    (tmp_path / "model.data").write_bytes(b"other weights")
    assert Import(Classify, [path], {}, None, tmp_path).run != before.run
    (tmp_path / "model.data").unlink()
    missing = str(refused(path, folder / "labels.json"))
    assert missing.startswith("model.onnx keeps weights in 'model.data', which cannot be read: ")


def test_capabilities_that_need_more_than_a_graph_say_so(folder: Path, tmp_path: Path) -> None:
    for name in ("recsys.recommend", "nlp.classify", "nlp.embed"):
        with pytest.raises(InvalidInput, match=r"Train .*: python -m services train"):
            catalog.find(name).import_model([folder / "model.onnx"], {}, tmp_path)


@pytest.mark.slow
def test_an_image_classifier_of_transformers_is_exported_as_its_processor_says(
    tmp_path: Path,
) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    names = dict(enumerate(["a", "b", "c"]))
    config = ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 4], depths=[1, 1], layer_type="basic", id2label=names
    )
    given, folder = tmp_path / "given", tmp_path / "version"
    folder.mkdir()
    network: Any = ResNetForImageClassification(config)
    network.eval()
    network.save_pretrained(given)
    with pytest.raises(InvalidInput, match=r"given has no preprocessor_config\.json"):
        Classify.import_model([given], {}, folder)
    said = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (given / "preprocessor_config.json").write_text(json.dumps(said))
    (sentence,) = Classify.import_model([given], {}, folder)
    assert sentence.endswith("less mean 0.5, 0.5, 0.5, divided by std 0.25, 0.25, 0.25.")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    task = Classify.load(folder)
    asked = task.batch([Input.model_construct(image=pixels, top_k=3)])
    (answer,) = task.predict(task.complete(asked))
    with torch.no_grad():
        tensor = torch.from_numpy((pixels.transpose(2, 0, 1)[None] / 255 - 0.5) / 0.25).float()
        chances = network(pixel_values=tensor).logits.softmax(1)[0].tolist()
    found = {guess.label: guess.probability for guess in answer.top}
    assert [found[name] for name in "abc"] == pytest.approx(chances, abs=1e-4)
    (given / "model.safetensors").rename(given / "pytorch_model.bin")
    with pytest.raises(InvalidInput, match=r"given has neither weights\.safetensors"):
        Classify.import_model([given], {}, folder)


def test_a_network_of_ours_is_exported_anew_from_its_folder(tmp_path: Path) -> None:
    side, given = trained_side(tmp_path), tmp_path / "side"
    folder = tmp_path / "version"
    folder.mkdir()
    asked = side.complete(side.inputs.sample(9, np.random.default_rng(0)))
    before = side.predict(asked)
    kept = ("config.json", "state.json", "state.safetensors", "weights.safetensors")
    for path in given.iterdir():
        if path.name not in {*kept, "labels.json"}:
            path.unlink()
    Side.import_model([given], {}, folder)
    after = Side.load(folder).predict(asked)
    assert [one.label for one in after] == [one.label for one in before]
    with pytest.raises(InvalidInput, match=r"side does not hold a network of vision\.classify: "):
        Classify.import_model([given], {}, folder)
    with pytest.raises(InvalidInput, match=r"a network of ours, which takes no size="):
        Side.import_model([given], {"size": "8x8"}, folder)
