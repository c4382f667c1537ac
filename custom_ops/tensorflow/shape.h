// The shapes that the ops give, as far as their arguments' shapes are known; and their attributes.
#pragma once

#include "custom_ops/tensorflow/check.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/errors.h"

// The attributes that all products have. `layer`: nodes of different layers must not share the plan
// that a kernel keeps. `structure`, `block`: see ReadStructure. `growth_batch`: not read here; the
// gradients in keras_sparse/compute/gradients.py take those of missing weights from this share of a
// batch.
#define KERAS_SPARSE_PRODUCT_ATTRIBUTES                                      \
  Attr("layer: string = ''")                                                 \
      .Attr(KS_TYPE_ATTRIBUTE)                                               \
      .Attr("structure: {'weights', 'channel_pairs', 'blocks'} = 'weights'") \
      .Attr("block: int = 0")                                                \
      .Attr("growth_batch: float = 1.0")

// Of a forward product and its input gradient: share_values.cc sets `shared_values` in a graph that
// runs. `keeps_values`: nobody trains the kernel, so its values and a few plans may be kept.
// `kernel_in_floats`: see CpuFlags; cast_on_read.cc sets it in a graph that runs.
#define KERAS_SPARSE_SHARED_VALUES        \
  Attr("shared_values: string = ''")      \
      .Attr("keeps_values: bool = false") \
      .Attr("kernel_in_floats: bool = false")

// Of a forward product: hand_values.cc sets it in a graph that runs. Of the step of its kernel,
// too.
#define KERAS_SPARSE_HANDED_VALUES Attr("handed_values: string = ''")

// Of an input gradient and its kernel gradient: share_gradients.cc sets it in a graph that runs.
#define KERAS_SPARSE_SHARED_GRADIENT Attr("shared_gradient: string = ''")

// Of a kernel gradient: list_gradients.cc sets it in a graph that runs. Of an input gradient: what
// the kernel gradient is that it shares.
#define KERAS_SPARSE_AS_LIST Attr("as_list: bool = false")

namespace keras_sparse {

template <class Rules, Product kProduct>
absl::Status ProductShape(tensorflow::shape_inference::InferenceContext* c) {
  constexpr ProductInputs kInputs = InputsOf(kProduct);
  tensorflow::shape_inference::ShapeHandle kernel = c->input(kInputs.kernel), outputs, flag;
  bool in_floats = false;
  if (kProduct != Product::kKernelGradient)
    TF_RETURN_IF_ERROR(c->GetAttr("kernel_in_floats", &in_floats));
  if (in_floats) TF_RETURN_IF_ERROR(c->Subshape(kernel, 0, -1, &kernel));
  TF_RETURN_IF_ERROR(c->Merge(kernel, c->input(kInputs.mask), &kernel));
  if (kInputs.dense_weight_gradient >= 0)
    TF_RETURN_IF_ERROR(c->WithRank(c->input(kInputs.dense_weight_gradient), 0, &flag));
  TF_RETURN_IF_ERROR(Rules::OutputShape(c, c->input(0), kernel, &outputs));
  if (kInputs.output_gradient >= 0)
    TF_RETURN_IF_ERROR(c->Merge(outputs, c->input(kInputs.output_gradient), &outputs));
  bool as_list = false;
  if (kProduct == Product::kKernelGradient) TF_RETURN_IF_ERROR(c->GetAttr("as_list", &as_list));
  if (as_list) {
    c->set_output(0, c->UnknownShapeOfRank(1));
    return absl::OkStatus();
  }
  c->set_output(0, kProduct == Product::kForward         ? outputs
                   : kProduct == Product::kInputGradient ? c->input(0)
                                                         : c->input(kInputs.mask));
  return absl::OkStatus();
}

}  // namespace keras_sparse
