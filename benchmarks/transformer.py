"""The body of the benchmarks' vision transformers: blocks of attention and of two dense layers."""

from typing import Any


def encoder(layers: Any, x: Any, width: int, heads: int, blocks: int) -> Any:
    """Blocks with normalization first (Dosovitskiy et al. 2021), and the mean over the patches.

    Args:
        layers: ``keras.layers``, of Keras 3 or of tf_keras.
        x: (batch, patches, width).
        width: channels of each patch.
        heads: of the attention, width / heads channels each.
        blocks: how many.

    Returns:
        (batch, width).
    """
    for _ in range(blocks):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(heads, width // heads)(y, y)])
        y = layers.Dense(4 * width, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(width)(y)])
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
