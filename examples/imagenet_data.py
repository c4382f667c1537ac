"""Reads ImageNet from TFRecords into batches, in parallel, with tf.data.

A record has ``image/encoded`` (JPEG) and ``image/class/label`` (1 to 1,000), as the common
conversion of ImageNet writes them. The files are ``train-*`` and ``validation-*``. Batches have a
fixed shape, which a TPU needs.
"""

import tensorflow as tf

FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
}
TRAINING_IMAGES = 1_281_167
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # by channel, of 0 to 255
FILES_AT_ONCE = 16
SHUFFLED = 10_000  # images
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # of the part of an image that is shown in training
SHOWN = 224 / 256  # of an image's shorter side, when it is tested


def training_batches(
    folder: str, batch: int, image_size: int, classes: int, dtype: str
) -> tf.data.Dataset:
    """Endless batches of shuffled, randomly cropped and mirrored images, and their labels.

    Images are (batch, size, size, 3), labels (batch, classes).
    """

    def example(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, label = _parse(record, classes)
        image = tf.image.random_flip_left_right(_resize(_random_crop(encoded), image_size))
        return _normalise(image, dtype), label

    files = tf.data.Dataset.list_files(f"{folder}/train-*", shuffle=True)
    # The order of images may vary: a slow file holds nobody up.
    records = files.interleave(
        tf.data.TFRecordDataset,
        FILES_AT_ONCE,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=False,
    )
    shuffled = records.shuffle(SHUFFLED).repeat()
    examples = shuffled.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    return examples.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def validation_batches(
    folder: str, batch: int, image_size: int, classes: int, dtype: str
) -> tf.data.Dataset:
    """Every image once: its middle, its label, and its weight (batch,): 0 for filling images.

    Weighted metrics are exact. Keras' ``val_loss`` is too small: it counts filling images as 0, and
    one more batch if it cannot know their number.
    """

    def example(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        encoded, label = _parse(record, classes)
        return _normalise(_resize(_middle(encoded), image_size), dtype), label, tf.constant(1.0)

    files = tf.data.Dataset.list_files(f"{folder}/validation-*", shuffle=False)
    records = files.interleave(
        tf.data.TFRecordDataset, FILES_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE
    )
    examples = records.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    filling = tf.data.Dataset.from_tensors(
        (tf.zeros((image_size, image_size, 3), dtype), tf.zeros(classes), tf.constant(0.0))
    )
    # Before it is batched: a strategy changes the size of batches to that of one replica.
    return (
        examples.concatenate(filling.repeat(batch - 1))
        .batch(batch, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def synthetic_batches(batch: int, image_size: int, classes: int, dtype: str) -> tf.data.Dataset:
    """Without end the same batch of noise: to try a training, or to time it without the reading."""
    images = tf.cast(
        tf.random.stateless_normal((batch, image_size, image_size, 3), seed=(0, 0)), dtype
    )
    labels = tf.one_hot(tf.range(batch) % classes, classes)
    return tf.data.Dataset.from_tensors((images, labels)).repeat()


def _parse(record: tf.Tensor, classes: int) -> tuple[tf.Tensor, tf.Tensor]:
    features = tf.io.parse_single_example(record, FEATURES)
    return features["image/encoded"], tf.one_hot(features["image/class/label"] - 1, classes)


def _random_crop(encoded: tf.Tensor) -> tf.Tensor:
    """Some part of the image; only that part is decoded."""
    no_boxes = tf.zeros((1, 0, 4))
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        tf.io.extract_jpeg_shape(encoded),
        no_boxes,
        aspect_ratio_range=ASPECT,
        area_range=AREA,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.io.decode_and_crop_jpeg(encoded, tf.concat([begin[:2], size[:2]], 0), channels=3)


def _middle(encoded: tf.Tensor) -> tf.Tensor:
    shape = tf.io.extract_jpeg_shape(encoded)[:2]
    side = tf.cast(SHOWN * tf.cast(tf.reduce_min(shape), tf.float32), tf.int32)
    return tf.io.decode_and_crop_jpeg(
        encoded, tf.concat([(shape - side) // 2, [side, side]], 0), channels=3
    )


def _resize(image: tf.Tensor, image_size: int) -> tf.Tensor:
    return tf.ensure_shape(
        tf.image.resize(image, (image_size, image_size)), (image_size, image_size, 3)
    )


def _normalise(image: tf.Tensor, dtype: str) -> tf.Tensor:
    """bfloat16 halves what goes to the device."""
    return tf.cast((image - MEAN) / DEVIATION, dtype)
