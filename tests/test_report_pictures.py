"""``ks.report`` shows masks as pictures, and values as histograms."""

import base64
import struct
import zlib

import keras
import numpy as np
import pytest
from helpers import toy_model
from report_pages import Page

import keras_sparse as ks
from keras_sparse.reporting import pictures
from keras_sparse.reporting.histogram import BINS, histogram_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


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
