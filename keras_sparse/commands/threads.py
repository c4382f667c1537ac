"""The number of threads of TensorFlow's operations in a command's process."""

import os


def set_threads(asked: int | None) -> int:
    """Sets the number and returns it; None: that of TensorFlow, which is all cores.

    Raises:
        ValueError: TensorFlow has run an operation already.
    """
    import tensorflow as tf

    if asked is not None:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(asked)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            raise ValueError(
                f"`threads` must be set before TensorFlow starts. Received: threads={asked}"
            ) from error
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or cores or 1
