"""Conversion of models between Keras' layers and sparse layers: rules, copies, report."""
