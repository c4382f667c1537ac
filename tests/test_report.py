"""``ks.report`` writes one valid HTML page with the figures of ``ks.summary``."""

import base64
import html.parser
import re
import struct
import zlib

import keras
import numpy as np
import pytest
from helpers import compiled, fit, sparse, toy_model
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.models import layer_speed, step_speed
from keras_sparse.models.summary_table import cell
from keras_sparse.reporting import charts, pictures
from keras_sparse.reporting.histogram import BINS, histogram_of
from keras_sparse.reporting.table import NUMBERS

VOID = {"meta", "br", "img"}


class Page(html.parser.HTMLParser):
    """Reads a page; ``tags`` are (tag, attributes, text in it), in their order."""

    def __init__(self, path):
        super().__init__()
        self.tags, self._open = [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names))
        self.tags.append([tag, dict(attributes), ""])
        if tag not in VOID:
            self._open.append(self.tags[-1])

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        for each in self._open:
            each[2] += data

    def all(self, tag, **wanted):
        """[(attributes, text)] of these tags, with these attributes."""
        return [
            (attributes, text)
            for name, attributes, text in self.tags
            if name == tag and wanted.items() <= attributes.items()
        ]

    @property
    def text(self):
        return self.all("body")[0][1]

    def rows(self):
        """Of the table of layers: {name: {header: text}}."""
        found, name = {}, None
        for tag, attributes, text in self.tags:
            if tag == "th":
                name = text
            elif tag == "td" and "data-label" in attributes:
                found.setdefault(name, {})[attributes["data-label"]] = text
        return found


@pytest.fixture(scope="module")
def trained():
    """A sparse model, its callback, and the result of fit, which has each layer."""
    model = compiled(sparse(), ks.sparsify(toy_model(), verbose=False))
    callback = ks.UpdateMasks("epoch", log_layers=True)
    return model, callback, fit(model, callback)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


@pytest.mark.backend
def test_the_page_has_every_layer_with_the_figures_of_summary(trained, path):
    model, callback, _ = trained
    page = Page(ks.report(callback, path))
    described, rows = ks.summary(model, "dict"), page.rows()
    total = described["total"]
    assert [row["weight"] for row in described["layers"]] == [
        "toy/hidden/kernel",
        "toy/head/kernel",
    ]
    for row in described["layers"]:
        name = row["weight"].removeprefix("toy/")
        expected = {header: cell(row[key]) for header, key in NUMBERS.items()}
        expected |= {"shape": "x".join(map(str, row["shape"])), "runs as": row["runs_as"]}
        assert rows[name] == expected
        assert any(name in text for _, text in page.all("article"))
        assert page.all("img", alt=f"Mask of {name}")
    assert rows["total"] == {header: cell(total[key]) for header, key in NUMBERS.items()}
    assert f"{total['active']:,} of {total['weights']:,} masked weights are active" in page.text


@pytest.mark.backend
def test_the_page_makes_no_request_and_runs_no_script(trained, path):
    _, callback, _ = trained
    page = Page(ks.report(callback, path))
    for tag, attributes, _ in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "data", "poster", "srcset"):
                assert value.startswith(("data:image/png;base64,", "#weight-"))
    assert not re.search(r"https?:|url\(|@import|//\w", page.source)
    ((policy, _),) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'")


def test_names_are_escaped(path):
    name = "<b>&amp;\"two\"'one'"
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name=name)], name="<i>&")
    page = Page(ks.report(model, path))
    assert ("b" in {tag for tag, _, _ in page.tags}) == ("<b>" in page.source)
    assert page.all("b") == [({}, "<i>&")]  # of the heading
    assert page.all("title")[0][1] == "Sparsity of <i>&"
    assert f"{name}/kernel" in page.rows()
    assert page.all("img", alt=f"Mask of {name}/kernel")


def test_ids_and_links_belong_together(path):
    page = Page(ks.report(toy_model(), path))
    ids = [attributes["id"] for _, attributes, _ in page.tags if "id" in attributes]
    links = [attributes["href"] for attributes, _ in page.all("a")]
    assert links == [f"#{each}" for each in ids] == ["#weight-0", "#weight-1"]


# --- the training


def titles(page):
    """{name of a line: (first, last)}."""
    found = re.findall(r"<title>([^<:]*): ([\d.]+) to ([\d.]+)</title>", page.source)
    return {name: (first, last) for name, first, last in found if "weights" not in last}


def test_the_callback_gives_a_line_for_each_layer_and_their_total(trained, path):
    _, callback, _ = trained
    page = Page(ks.report(callback, path))
    history = callback.history
    lines = titles(page)
    for name in ("hidden/kernel", "head/kernel"):
        values = history[f"toy/{name}"]
        assert lines[name] == (f"{values[0]:.4f}", f"{values[-1]:.4f}")
    assert lines["all masked weights"] == ("0.2500", "0.2500")
    rate = history["exploration_rate"]
    assert lines["ever active, all layers"] == (f"{rate[0]:.4f}", f"{rate[-1]:.4f}")
    assert [text for _, text in page.all("span")].count("12") == 1  # the last optimizer step


def test_the_result_of_fit_gives_the_total_and_says_how_to_get_layers(trained, path):
    model, _, logged = trained
    history = keras.callbacks.History()
    history.set_model(model)
    history.history = {k: v for k, v in logged.history.items() if "/" not in k}
    page = Page(ks.report(history, path))
    assert set(titles(page)) == {"all masked weights", "ever active, all layers"}
    assert "log_layers=True" in page.text
    assert "hidden/kernel" in page.rows()


def test_the_result_of_fit_gives_each_layer_if_that_was_logged(trained, path):
    _, _, history = trained
    page = Page(ks.report(history, path))
    assert {"hidden/kernel", "head/kernel", "all masked weights"} <= set(titles(page))
    assert "log_layers=True" not in page.text


def test_a_model_and_a_history_from_elsewhere(trained, path):
    model, callback, _ = trained
    page = Page(ks.report(model, path, history=dict(callback.history)))
    assert "hidden/kernel" in titles(page)


def test_a_history_alone_shows_the_training_alone(path):
    page = Page(ks.report({"step": [4, 8], "a/kernel": [0.1, 0.0]}, path))
    assert titles(page) == {"a/kernel": ("0.1000", "0.0000")}
    assert "no model" in page.text
    assert not page.all("table")
    assert not page.all("article")


def test_zero_is_below_the_powers_of_ten():
    axis = charts._Axis([1.0, 0.03, 0.0])
    assert axis.ticks == pytest.approx([0, 0.01, 0.1, 1])
    assert [axis.at(value) for value in (1, 0.1, 0.01, 0)] == pytest.approx([0, 400, 800, 1000])
    assert charts._Axis([0.25]).ticks == pytest.approx([0.1, 1])


def test_one_epoch_is_a_dot_and_many_layers_have_a_short_legend(path):
    lines = {f"layer_{i}/kernel": [0.1] for i in range(30)}
    page = Page(ks.report({"step": [4], **lines}, path))
    assert re.search(r'd="M0.0,1000.0h0.1"', page.source)
    (_, legend) = page.all("figcaption")[0]
    assert legend == "layer_0/kernelto, through 28 others,layer_29/kernel"


# --- pictures and histograms


def decoded(source):
    """Opacities of a picture in [0, 255], by the PNG specification."""
    data, place, parts = base64.b64decode(source.partition(",")[2]), 8, {}
    while place < len(data):
        (size,) = struct.unpack_from(">I", data, place)
        name, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        (checksum,) = struct.unpack_from(">I", data, place + 8 + size)
        assert checksum == zlib.crc32(name + content)
        parts[name], place = content, place + 12 + size
    columns, rows = struct.unpack_from(">II", parts[b"IHDR"])
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(rows, columns + 1)
    return np.frombuffer(parts[b"tRNS"], np.uint8)[lines[:, 1:]]


def test_the_picture_of_a_mask_is_the_mask(path):
    model = toy_model()
    mask = np.random.default_rng(0).random((8, 16)) < 0.3
    model.get_layer("hidden").kernel.assign(mask * 0.5)
    page = Page(ks.report(model, path))
    ((attributes, _),) = page.all("img", alt="Mask of hidden/kernel")
    np.testing.assert_array_equal(decoded(attributes["src"]), 255 * mask)
    assert (attributes["width"], attributes["height"]) == ("384", "192")


def test_browsers_and_matplotlib_read_the_same_picture(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    numbers = np.arange(12, dtype=np.uint8).reshape(3, 4)
    (tmp_path / "a.png").write_bytes(pictures.png(numbers))
    read = image.imread(tmp_path / "a.png")
    expected = np.concatenate([[0], np.linspace(pictures.FAINTEST, 1, pictures.LEVELS - 1)])
    np.testing.assert_allclose(read[..., 3], expected[numbers], atol=1 / 255)


def test_a_large_mask_is_reduced_and_the_page_says_so(path):
    kernel = np.zeros((600, 520), "float32")
    kernel[:3, :3] = 1  # one cell
    model = keras.Sequential([keras.Input((600,)), keras.layers.Dense(520, name="large")])
    model.get_layer("large").kernel.assign(kernel)
    page = Page(ks.report(model, path))
    ((attributes, _),) = page.all("img")
    found = decoded(attributes["src"])
    assert found.shape == (200, 174)
    assert np.argwhere(found).tolist() == [[0, 0]]
    assert "a cell is 3 by 3 channels; largest share 1.0000" in page.text
    assert "dead: 597 inputs, 517 outputs" in page.text


def test_a_convolution_also_has_a_picture_of_its_taps(path):
    model = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(4, 3, name="conv")])
    mask = np.zeros((3, 3, 2, 4))
    mask[1, 2] = 1
    model.get_layer("conv").kernel.assign(mask)
    page = Page(ks.report(model, path))
    ((attributes, _),) = page.all("img", alt="Density of each tap of conv/kernel")
    np.testing.assert_array_equal(decoded(attributes["src"]), 255 * mask[..., 0, 0])
    assert "blocks 2x4 per tap" in page.text


def test_histograms_count_active_weights_and_name_what_is_not_finite():
    found = histogram_of(np.array([np.nan, np.inf, -2.0, 0.0, 2.0]))
    assert (found.counts[0], found.counts[BINS // 2], found.counts[-1]) == (1, 1, 1)
    assert (found.counts.sum(), found.not_finite, found.largest) == (3, 2, 2.0)
    empty = histogram_of(np.zeros(0))
    assert (empty.counts.sum(), empty.largest, empty.mean) == (0, 0.0, 0.0)


def test_quantized_models_have_masks_and_where_values_are_packed_no_histogram(path):
    model = toy_model()
    ks.prune(model, 0.25)
    for layer in model.layers:
        layer.quantize("int4")
    page = Page(ks.report(model, path))
    assert page.rows()["hidden/kernel (frozen)"]["density"] == "0.2500"
    assert "no histogram: the quantized values are packed" in page.text


def test_a_model_that_cannot_be_traced_and_one_without_kernels(path):
    class Lengths(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, x, y):
            return self.dense(x) + y

    model = Lengths()
    model(np.ones((1, 3)), np.ones((1, 2)))
    page = Page(ks.report(model, path))
    assert "Multiply-adds are unknown: the model's `call` takes several arguments." in page.text
    assert "multiply-adds, dense" not in next(iter(page.rows().values()))
    normalization = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    assert not Page(ks.report(normalization, path)).all("article")


# --- measured


@needs_ops
def test_measure_times_the_step_and_each_layer_at_the_batch(path, monkeypatch):
    for module in (step_speed, layer_speed):
        monkeypatch.setattr(module, "TURNS", 1)
        monkeypatch.setattr(module, "MIN_SECONDS_OF_TURN", 0.0)
    model = ks.sparsify(keras.Sequential([keras.Input((32,)), keras.layers.Dense(64, name="one")]))
    before = [np.array(keras.ops.convert_to_numpy(each)) for each in model.weights]
    page = Page(ks.report(model, path, batch=8, measure=True))
    assert "A training step at batch 8 takes" in page.text
    row = page.rows()["one"]
    assert re.fullmatch(r"[\d.]+ ms", row["Keras' layer"])
    assert re.fullmatch(r"[\d.]+ ms", row["custom op"])
    assert re.fullmatch(r"[\d.]+x", row["speed-up"])
    assert "computes the layer at batch 8 and at the present density" in page.text
    for one, other in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(one, keras.ops.convert_to_numpy(other))


def test_nothing_is_measured_unless_asked(path):
    assert "Measured speed" not in Page(ks.report(toy_model(), path, batch=8)).text


@pytest.mark.backend
@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow measures")
def test_other_backends_measure_nothing(path):
    with pytest.raises(ValueError, match="`measure` must be False on this backend"):
        ks.report(toy_model(), path, batch=8, measure=True)
    assert not path.exists()


# --- errors


@pytest.mark.parametrize("given", ["model.keras", 3, None, keras.callbacks.CSVLogger("a")])
def test_something_else_is_told(given, path):
    with pytest.raises(TypeError, match="`model_or_history` must be a Keras model.*Received"):
        ks.report(given, path)


def test_arguments_that_do_not_fit(path, tmp_path):
    model, history = toy_model(), keras.callbacks.History()
    history.history = {"loss": [1.0]}
    wrong = [
        ((history,), {}, "`history` must hold a density"),
        ((ks.UpdateMasks(),), {}, "`history` must hold a density"),
        (({"density": [0.1]},), {"batch": 8}, "there is none. Received: measure=False, batch=8"),
        (({"density": [0.1]},), {"history": {}}, "`history` must be None"),
        ((model,), {"measure": True}, "`batch` must be set if `measure` is. Received: batch=None"),
        ((model,), {"batch": 0}, "`batch` must be a positive integer. Received: batch=0"),
        ((keras.Sequential([keras.layers.Dense(2)]),), {}, "`model` must have weights"),
    ]
    for arguments, settings, message in wrong:
        with pytest.raises(ValueError, match=re.escape(message)):
            ks.report(*arguments, path, **settings)
    assert not path.exists()
    with pytest.raises(TypeError, match="`history` must be the UpdateMasks callback"):
        ks.report(model, path, history=3)


def test_paths_that_no_report_is_written_to(tmp_path):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "mine.html").write_text("<!DOCTYPE html><title>not a report</title>")
    wrong = {
        "report": "must end in",
        "report.png": "must end in",
        "none/report.html": "must be in a folder that exists",
        "folder.html": "must be free, or an earlier report",
        "mine.html": "must be free, or an earlier report",
    }
    for name, message in wrong.items():
        with pytest.raises(ValueError, match=f"`path` {message}.*Received: path='"):
            ks.report(toy_model(), tmp_path / name)
    with pytest.raises(ValueError, match="must be in a folder that exists"):
        ks.report(toy_model(), "gs://bucket/report.html")
    assert (tmp_path / "mine.html").read_text().endswith("not a report</title>")


def test_an_earlier_report_is_replaced(path):
    assert ks.report(toy_model(), path) == path
    model = toy_model()
    ks.prune(model, 0.25)
    ks.report(model, str(path))
    assert Page(path).rows()["total"]["density"] == "0.2500"
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
