// What an op computes behind its product: a bias and an activation, as fuse_bias.cc joins them, or
// the sum with another tensor, as fuse_sums.cc does.
#pragma once

#include <string>
#include <type_traits>
#include <vector>

#include "custom_ops/tensorflow/check.h"
#include "tensorflow/core/util/bcast.h"

// Of a product with a bias.
#define KERAS_SPARSE_ACTIVATION Attr("activation: {'None', 'Relu', 'Relu6'} = 'None'")

namespace keras_sparse {

template <typename T>
class ProductEpilogue {
 public:
  // `inputs`: how many the product alone has. The bias and what is added come behind them.
  absl::Status Read(tensorflow::OpKernelConstruction* context, int inputs) {
    if (context->HasAttr("activation")) {
      std::string activation;
      TF_RETURN_IF_ERROR(context->GetAttr("activation", &activation));
      if (activation != "None") bounds_.least = 0;
      if (activation == "Relu6") bounds_.most = 6;
      bias_ = inputs++;
    }
    if (context->num_inputs() > inputs) addend_ = inputs;
    return absl::OkStatus();
  }

  bool Exists() const { return bias_ >= 0 || addend_ >= 0; }

  absl::Status Check(tensorflow::OpKernelContext* context, const ProductCall& call) const {
    if (bias_ < 0) return absl::OkStatus();
    const tensorflow::TensorShape& bias = context->input(bias_).shape();
    const bool fits = bias.dims() == 1 && bias.dim_size(0) == call.convolution.sizes.out_channels;
    if (fits) return absl::OkStatus();
    return BadShape("bias", "have a number for each output channel", bias);
  }

  // For a plan. `memory` holds the bias, if its values are not floats.
  Epilogue Of(tensorflow::OpKernelContext* context, const tensorflow::TensorShape& result,
              std::vector<float>* memory) const {
    Epilogue epilogue = bounds_;
    if (addend_ >= 0 && !Broadcasts(context, result))
      epilogue.addend = context->input(addend_).flat<T>().data();
    if (bias_ < 0) return epilogue;
    const auto bias = context->input(bias_).flat<T>();
    if constexpr (std::is_same_v<T, float>) {
      epilogue.bias = bias.data();
    } else {
      memory->resize(bias.size());
      for (int64_t i = 0; i < bias.size(); ++i) (*memory)[i] = static_cast<float>(bias(i));
      epilogue.bias = memory->data();
    }
    return epilogue;
  }

  // For plans that have no epilogue: one more pass over the results.
  static void Finish(const Epilogue& epilogue, tensorflow::Tensor* results) {
    T* const values = results->flat<T>().data();
    const int64_t count = results->NumElements(), channels = results->shape().dim_sizes().back();
    const T* const addend = static_cast<const T*>(epilogue.addend);
    for (int64_t i = 0; i < count && epilogue.bias != nullptr; ++i) {
      float value = static_cast<float>(values[i]) + epilogue.bias[i % channels];
      value = value < epilogue.least ? epilogue.least : value;
      values[i] = T(value > epilogue.most ? epilogue.most : value);
    }
    for (int64_t i = 0; i < count && addend != nullptr; ++i) values[i] += addend[i];
  }

  // Sets the output. An addend of another shape is added here, as AddV2 does, in rows of channels.
  absl::Status SetOutput(tensorflow::OpKernelContext* context,
                         const tensorflow::Tensor& result) const {
    if (addend_ < 0 || !Broadcasts(context, result.shape())) {
      context->set_output(0, result);
      return absl::OkStatus();
    }
    const tensorflow::Tensor& addend = context->input(addend_);
    const tensorflow::BCast shapes(tensorflow::BCast::FromShape(result.shape()),
                                   tensorflow::BCast::FromShape(addend.shape()),
                                   /*fewer_dims_optimization=*/false);
    if (!shapes.IsValid())
      return BadShape("addend", absl::StrCat("fit the shape ", result.shape().DebugString()),
                      addend.shape());
    tensorflow::Tensor* sum = nullptr;
    TF_RETURN_IF_ERROR(
        context->allocate_output(0, tensorflow::BCast::ToShape(shapes.output_shape()), &sum));
    AddRows(Rows(shapes.x_reshape(), shapes.output_shape(), result.flat<T>().data()),
            Rows(shapes.y_reshape(), shapes.output_shape(), addend.flat<T>().data()), sum);
    return absl::OkStatus();
  }

 private:
  // An array that is read as if it had a larger shape: its rows are its values along the last axis.
  class Rows {
   public:
    Rows(const tensorflow::BCast::Vec& own, const tensorflow::BCast::Vec& shape, const T* values)
        : values_(values), shape_(shape.begin(), shape.end()), strides_(own.size()) {
      int64_t stride = 1;
      for (size_t axis = own.size(); axis-- > 0; stride *= own[axis])
        strides_[axis] = own[axis] == 1 ? 0 : stride;
    }

    const T* At(int64_t row) const {
      int64_t place = 0;
      for (size_t axis = shape_.size() - 1; axis-- > 0; row /= shape_[axis])
        place += row % shape_[axis] * strides_[axis];
      return values_ + place;
    }
    int64_t step() const { return strides_.back(); }

   private:
    const T* values_;
    std::vector<int64_t> shape_, strides_;
  };

  static void AddRows(const Rows& one, const Rows& other, tensorflow::Tensor* sum) {
    const int64_t channels = sum->shape().dim_sizes().back(), count = sum->NumElements();
    T* values = sum->flat<T>().data();
    for (int64_t row = 0; row * channels < count; ++row) {
      const T *a = one.At(row), *b = other.At(row);
      for (int64_t i = 0; i < channels; ++i) *values++ = a[i * one.step()] + b[i * other.step()];
    }
  }

  bool Broadcasts(tensorflow::OpKernelContext* context,
                  const tensorflow::TensorShape& result) const {
    return context->input(addend_).shape() != result;
  }

  int bias_ = -1, addend_ = -1;  // inputs; -1: there is none
  Epilogue bounds_;              // without the bias
};

}  // namespace keras_sparse
