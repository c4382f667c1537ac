"""Times sparse layers of the kinds that break_even.py lacks beside Keras' layers, by density.

    python -m benchmarks.layer_break_even          # goes on where it was stopped; 10 minutes

Attention projections, convolutions over time, dilated, separable and transposed convolutions, and
recurrent layers. Each runs a training step of its own: outputs, and the gradients by inputs and
weights, with the growth window closed. ``stock`` is the sparse layer told to run Keras' operation:
what is left of its cost if the custom op does not pay.
"""

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks import options, records, report, turns

COMMAND = "python -m benchmarks.layer_break_even"
DENSITIES = (0.5, 0.2, 0.1, 0.05)
NOTE = """Seconds of the Keras layer over seconds of the sparse one, by density, with
`implementation="custom_op"`; a step computes outputs and all gradients. CPU time of one thread,
medians of 7 turns. `stock`: the same with `implementation="stock"`, at density 0.05.
"""

# title: (class of Keras, its arguments, shape of an input, batch)
LAYERS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...], int]] = {
    "ViT query, 12 heads, 197 tokens": (
        "EinsumDense", ("abc,cde->abde", (197, 12, 64)), {"bias_axes": "de"}, (197, 768), 4,
    ),
    "ViT output, 12 heads, 197 tokens": (
        "EinsumDense", ("abde,dec->abc", (197, 768)), {"bias_axes": "c"}, (197, 12, 64), 4,
    ),
    "small ViT query, 4 heads, 64 tokens": (
        "EinsumDense", ("abc,cde->abde", (64, 4, 48)), {"bias_axes": "de"}, (64, 192), 16,
    ),
    "Conv1D 5, 256 > 256, length 128": (
        "Conv1D", (256, 5), {"padding": "same"}, (128, 256), 16,
    ),
    "Conv1D 3, 64 > 64, length 512, causal": (
        "Conv1D", (64, 3), {"padding": "causal"}, (512, 64), 16,
    ),
    "Conv2D 3, dilation 2, 128 > 128, 28x28": (
        "Conv2D", (128, 3), {"padding": "same", "dilation_rate": 2}, (28, 28, 128), 8,
    ),
    "Conv2D 3, dilation 2, 256 > 256, 14x14": (
        "Conv2D", (256, 3), {"padding": "same", "dilation_rate": 2}, (14, 14, 256), 32,
    ),
    "Conv2D 3, dilation 6, 256 > 256, 33x33": (
        "Conv2D", (256, 3), {"padding": "same", "dilation_rate": 6}, (33, 33, 256), 1,
    ),
    "SeparableConv2D 728 > 728, 6x6": (
        "SeparableConv2D", (728, 3), {"padding": "same"}, (6, 6, 728), 32,
    ),
    "SeparableConv2D 128 > 256, 24x24": (
        "SeparableConv2D", (256, 3), {"padding": "same"}, (24, 24, 128), 32,
    ),
    "Conv2DTranspose 3, stride 2, 256 > 128, 8x8": (
        "Conv2DTranspose", (128, 3), {"strides": 2, "padding": "same"}, (8, 8, 256), 32,
    ),
    "Conv2DTranspose 4, stride 2, 64 > 64, 16x16": (
        "Conv2DTranspose", (64, 4), {"strides": 2, "padding": "same"}, (16, 16, 64), 32,
    ),
    "LSTM 256 > 256, 32 steps, batch 128": ("LSTM", (256,), {}, (32, 256), 128),
    "LSTM 512 > 512, 32 steps, batch 32": ("LSTM", (512,), {}, (32, 512), 32),
    "GRU 512 > 512, 32 steps, batch 32": ("GRU", (512,), {}, (32, 512), 32),
    "SimpleRNN 512 > 512, 32 steps, batch 128": ("SimpleRNN", (512,), {}, (32, 512), 128),
}  # fmt: skip


def main() -> None:
    """Measures what is missing and writes the table."""
    arguments = options.parser_of_cells(__doc__, "layer_break_even").parse_args()
    turns.limit_threads(1)
    done = {record["title"] for record in records.read(arguments.cells)}
    for title in LAYERS:
        if title not in done:
            records.add(arguments.cells, {"title": title, "seconds": seconds(title)})
    known = records.finished(arguments.cells)
    rows = [_row(record["title"], record["seconds"]) for record in known]
    columns = ("layer", "dense ms", *map(str, DENSITIES), "stock")
    head = report.header("Break-even densities of layers", COMMAND, records.circumstances(known))
    text = head + NOTE
    report.write(arguments.output, f"{text}\n{report.table(columns, rows)}")


def seconds(title: str) -> dict[str, float]:
    """Of a step: ``dense``, the sparse layer at each density, and ``stock``."""
    import keras

    from keras_sparse import layers

    name, values, settings, shape, batch = LAYERS[title]
    contenders = {"dense": _step(getattr(keras.layers, name)(*values, **settings), shape, batch, 1)}
    for key, density in {**{str(d): d for d in DENSITIES}, "stock": DENSITIES[-1]}.items():
        implementation = "stock" if key == "stock" else "custom_op"
        sparse = getattr(layers, f"Sparse{name}")(
            *values, implementation=implementation, **settings
        )
        contenders[key] = _step(sparse, shape, batch, density)
    for contender in contenders.values():
        contender()
    measured = turns.take_turns(contenders, 7, turns.clock_for(1))
    return {key: statistics.median(values) for key, values in measured.items()}


def _step(layer: Any, shape: tuple[int, ...], batch: int, density: float) -> Callable[[], object]:
    """A compiled function of the layer and all its gradients."""
    import numpy as np
    import tensorflow as tf

    from keras_sparse.compute.mask_state import kernel_mask_of

    rng = np.random.default_rng(0)
    inputs = tf.constant(rng.normal(size=(batch, *shape)).astype("float32"))
    layer(inputs)
    for weight in layer.weights:
        if (kernel_mask := kernel_mask_of(weight)) is not None:
            kernel_mask.assign(rng.random(weight.shape) < density)
            kernel_mask.mask_kernel()
    variables = [weight.value for weight in layer.trainable_variables]

    @tf.function(autograph=False)
    def step(inputs: tf.Tensor) -> object:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(layer(inputs, training=True) ** 2)
        return loss, tape.gradient(loss, [inputs, *variables])

    return lambda: step(inputs)


def _row(title: str, measured: dict[str, float]) -> tuple[object, ...]:
    keys = (*map(str, DENSITIES), "stock")
    ratios = [f"{measured['dense'] / measured[key]:.2f}" for key in keys]
    return (title, f"{1e3 * measured['dense']:.1f}", *ratios)


if __name__ == "__main__":
    main()
