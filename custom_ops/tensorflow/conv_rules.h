// The arguments that a convolution takes, and the shape that it gives.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "custom_ops/contract/window.h"
#include "custom_ops/tensorflow/check.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace keras_sparse {

struct ConvRules {
  using InferenceContext = tensorflow::shape_inference::InferenceContext;
  using DimensionHandle = tensorflow::shape_inference::DimensionHandle;
  using ShapeHandle = tensorflow::shape_inference::ShapeHandle;
  using TensorShape = tensorflow::TensorShape;

  int64_t stride_height = 1, stride_width = 1, dilation_height = 1, dilation_width = 1;
  bool same = false;

  // Two numbers of an attribute, of an OpKernelConstruction or an InferenceContext.
  template <class Context>
  static absl::Status ReadPair(Context* context, const char* name, int64_t* height,
                               int64_t* width) {
    std::vector<int64_t> pair;
    TF_RETURN_IF_ERROR(context->GetAttr(name, &pair));
    const bool sound = pair.size() == 2 && std::min(pair[0], pair[1]) >= 1 &&
                       std::max(pair[0], pair[1]) <= kMaxSize;
    if (!sound)
      return absl::InvalidArgumentError(
          absl::StrCat("`", name, "` must be two numbers in [1, 2^31). Received: ", name, "=[",
                       absl::StrJoin(pair, ", "), "]"));
    *height = pair[0], *width = pair[1];
    return absl::OkStatus();
  }

  template <class Context>
  absl::Status Read(Context* context) {
    std::string padding;
    TF_RETURN_IF_ERROR(ReadPair(context, "strides", &stride_height, &stride_width));
    TF_RETURN_IF_ERROR(ReadPair(context, "dilations", &dilation_height, &dilation_width));
    TF_RETURN_IF_ERROR(context->GetAttr("padding", &padding));
    same = padding == "SAME";
    return absl::OkStatus();
  }

  // The pixels that a kernel of this shape spans; 2^31 taps 2^31 pixels apart fit 64 bits.
  int64_t SpanOfRows(const TensorShape& kernel) const {
    return Span(kernel.dim_size(0), dilation_height);
  }
  int64_t SpanOfColumns(const TensorShape& kernel) const {
    return Span(kernel.dim_size(1), dilation_width);
  }

  // `name` is what the op calls the kernel.
  absl::Status Check(const TensorShape& inputs, const char* name, const TensorShape& kernel) const {
    TF_RETURN_IF_ERROR(CheckRank("inputs", inputs, 4, "[batch, height, width, channels]"));
    TF_RETURN_IF_ERROR(
        CheckRank(name, kernel, 4, "[height, width, input channels, output channels]"));
    if (kernel.dim_size(0) < 1 || kernel.dim_size(1) < 1)
      return BadShape(name, "be at least 1 high and 1 wide", kernel);
    if (kernel.dim_size(2) != inputs.dim_size(3))
      return BadShape(
          name,
          absl::StrCat("have the inputs' ", inputs.dim_size(3), " channels in its third axis"),
          kernel);
    if (!same &&
        (SpanOfRows(kernel) > inputs.dim_size(1) || SpanOfColumns(kernel) > inputs.dim_size(2)))
      return BadShape(
          name, absl::StrCat("fit into the inputs, ", inputs.DebugString(), ", for padding VALID"),
          kernel);
    return absl::OkStatus();
  }

  absl::StatusOr<ProductCall> Call(const TensorShape& inputs, const char* name,
                                   const TensorShape& kernel) const {
    TF_RETURN_IF_ERROR(Check(inputs, name, kernel));
    const Window rows = MakeWindow(inputs.dim_size(1), SpanOfRows(kernel), stride_height, same);
    const Window columns =
        MakeWindow(inputs.dim_size(2), SpanOfColumns(kernel), stride_width, same);
    ProductCall call;
    call.convolution.dilation_height = dilation_height;
    call.convolution.dilation_width = dilation_width;
    ConvSizes& s = call.convolution.sizes;
    s.batch = inputs.dim_size(0), s.in_channels = inputs.dim_size(3),
    s.out_channels = kernel.dim_size(3);
    s.in_height = inputs.dim_size(1), s.in_width = inputs.dim_size(2);
    s.kernel_height = kernel.dim_size(0), s.kernel_width = kernel.dim_size(1);
    s.stride_height = stride_height, s.stride_width = stride_width;
    s.pad_top = rows.pad, s.pad_left = columns.pad;
    s.out_height = rows.out, s.out_width = columns.out;
    TF_RETURN_IF_ERROR(TensorShape::BuildTensorShape(
        {s.batch, s.out_height, s.out_width, s.out_channels}, &call.outputs));
    return call;
  }

  // Windows along one axis, as far as the sizes are known.
  static absl::Status OutputSize(InferenceContext* c, DimensionHandle in, DimensionHandle kernel,
                                 int64_t stride, int64_t dilation, bool same,
                                 DimensionHandle* out) {
    *out = c->UnknownDim();
    if (!c->ValueKnown(in) || (!same && !c->ValueKnown(kernel))) return absl::OkStatus();
    const int64_t size = c->Value(in), taps = c->ValueKnown(kernel) ? c->Value(kernel) : 1;
    const int64_t span = Span(taps, dilation);
    if (!same && span > size)
      return absl::InvalidArgumentError(
          absl::StrCat("`kernel` must fit into the inputs for padding VALID. Received: ", span,
                       " pixels of weights along an axis of ", size));
    *out = c->MakeDim(MakeWindow(size, span, stride, same).out);
    return absl::OkStatus();
  }

  static absl::Status OutputShape(InferenceContext* c, ShapeHandle inputs, ShapeHandle kernel,
                                  ShapeHandle* output) {
    ConvRules rules;
    DimensionHandle channels, height, width;
    TF_RETURN_IF_ERROR(rules.Read(c));
    TF_RETURN_IF_ERROR(c->WithRank(inputs, 4, &inputs));
    TF_RETURN_IF_ERROR(c->WithRank(kernel, 4, &kernel));
    TF_RETURN_IF_ERROR(c->Merge(c->Dim(inputs, 3), c->Dim(kernel, 2), &channels));
    TF_RETURN_IF_ERROR(OutputSize(c, c->Dim(inputs, 1), c->Dim(kernel, 0), rules.stride_height,
                                  rules.dilation_height, rules.same, &height));
    TF_RETURN_IF_ERROR(OutputSize(c, c->Dim(inputs, 2), c->Dim(kernel, 1), rules.stride_width,
                                  rules.dilation_width, rules.same, &width));
    *output = c->MakeShape({c->Dim(inputs, 0), height, width, c->Dim(kernel, 3)});
    return absl::OkStatus();
  }
};

}  // namespace keras_sparse
