"""The untrained networks of the benchmark of coverage: a small ViT, and families of Keras."""

from typing import Any

from benchmarks.transformer import encoder

NETWORKS = (
    *("ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionResNetV2"),
    *("InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Small", "NASNetMobile", "ResNet50"),
    *("ResNet50V2", "VGG16", "ViT", "Xception"),
)
SIDE = 96  # of the images
PATCH, WIDTH, HEADS, BLOCKS = 8, 192, 3, 4  # of the ViT: the width of ViT-Tiny


def network(name: str) -> Any:
    """An untrained network of ten classes."""
    import keras

    layers, shape = keras.layers, (SIDE, SIDE, 3)
    if name != "ViT":
        return getattr(keras.applications, name)(weights=None, input_shape=shape, classes=10)
    images = keras.Input(shape)
    x = layers.Conv2D(WIDTH, PATCH, PATCH)(images)
    x = layers.Reshape(((SIDE // PATCH) ** 2, WIDTH))(x)
    x = encoder(layers, x, WIDTH, HEADS, BLOCKS)
    return keras.Model(images, layers.Dense(10, "softmax")(x), name="vit")
