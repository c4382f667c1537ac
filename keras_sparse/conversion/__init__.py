"""Models converted between Keras' layers and sparse ones: what can be, copies, and the report."""
