// What the products become under XLA: on a GPU a call of our kernels, where they compute it;
// elsewhere the dense product with the masked kernel, stock HLO for every device.
//
// `Rules` has, beside what check.h asks for, three functions that give HLO for the dense products:
// DenseForward(op type, inputs, kernel), DenseInputGradient(op type, shape of inputs, kernel,
// output gradient) and DenseKernelGradient(op type, inputs, shape of kernel, output gradient).
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "custom_ops/tensorflow/check.h"
#include "custom_ops/tensorflow/gpu_launch.h"
#include "custom_ops/tensorflow/xla_gpu_call.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "xla/hlo/builder/lib/constants.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape_util.h"

namespace keras_sparse {

// Of a type that the ops take.
inline ElementType TypeOf(tensorflow::DataType type) {
#define KS_IF_IT_IS(TYPE, NAME, ...) \
  if (type == tensorflow::DataTypeToEnum<TYPE>::value) return ElementType::k##NAME;
  KS_TENSORFLOW_TYPES(KS_IF_IT_IS)
#undef KS_IF_IT_IS
  return ElementType::kFloat32;
}

inline xla::XlaOp Masked(xla::XlaOp mask, xla::XlaOp values) {
  return xla::Select(mask, values, xla::ZerosLike(values));
}

template <class Rules, Product kProduct>
class ProductLowering : public tensorflow::XlaOpKernel {
 public:
  explicit ProductLowering(tensorflow::OpKernelConstruction* context)
      : tensorflow::XlaOpKernel(context) {
    OP_REQUIRES_OK(context, rules_.Read(context));
    OP_REQUIRES_OK(context, ReadStructure(context, &structure_));
    OP_REQUIRES_OK(context, RefuseCpuFlags<kProduct>(context));
    is_on_gpu_ = context->device_type() == tensorflow::DeviceType(tensorflow::DEVICE_GPU_XLA_JIT);
  }

  void Compile(tensorflow::XlaOpKernelContext* context) override {
    auto call = CheckProduct(kProduct, rules_, context);
    OP_REQUIRES_OK(context, call.status());
    call->convolution.structure = structure_;
    call->convolution.type = TypeOf(context->input_type(0));
    if (is_on_gpu_ && !call->convolution.IsEmpty() &&
        WhyNotOnGpu(kProduct, call->convolution) == nullptr) {
      const auto result = OnGpu(context, *call);
      OP_REQUIRES_OK(context, result.status());
      context->SetOutput(0, *result);
      return;
    }
    const auto result = Dense(context);
    OP_REQUIRES_OK(context, result.status());
    const bool is_gradient = kProduct == Product::kKernelGradient;
    context->SetOutput(
        0, is_gradient ? Masked(context->Input(InputsOf(kProduct).mask), *result) : *result);
  }

 private:
  static absl::StatusOr<xla::Shape> RowMajor(tensorflow::XlaOpKernelContext* context, int i) {
    TF_ASSIGN_OR_RETURN(const xla::Shape shape, context->InputXlaShape(i));
    return xla::ShapeUtil::MakeShapeWithDescendingLayout(shape.element_type(), shape.dimensions());
  }

  // A call of the handler in xla_gpu_call.cc.
  static absl::StatusOr<xla::XlaOp> OnGpu(tensorflow::XlaOpKernelContext* context,
                                          const ProductCall& call) {
    constexpr ProductInputs kInputs = InputsOf(kProduct);
    std::vector<xla::XlaOp> operands;
    std::vector<xla::Shape> shapes;
    for (const int i : {kInputs.first, kInputs.second, kInputs.mask}) {
      operands.push_back(context->Input(i));
      TF_ASSIGN_OR_RETURN(shapes.emplace_back(), RowMajor(context, i));
    }
    const xla::Shape result = xla::ShapeUtil::MakeShapeWithDescendingLayout(
        shapes[0].element_type(), call.result.dim_sizes());
    const xla::Shape workspace = xla::ShapeUtil::MakeShapeWithDescendingLayout(
        xla::U8, {std::max<int64_t>(1, GpuWorkspace(kProduct, call.convolution))});
    const std::string numbers = absl::StrCat(
        "{numbers = array<i64: ", absl::StrJoin(NumbersOf(kProduct, call.convolution), ", "), ">}");
    const xla::XlaOp both = xla::CustomCallWithLayout(
        context->builder(), kXlaGpuCall, operands,
        xla::ShapeUtil::MakeTupleShape({result, workspace}), shapes, numbers,
        /*has_side_effect=*/false, /*output_operand_aliasing=*/{}, /*literal=*/nullptr,
        xla::CustomCallSchedule::SCHEDULE_NONE, xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
    return xla::GetTupleElement(both, 0);
  }

  // The dense product with the masked kernel.
  absl::StatusOr<xla::XlaOp> Dense(tensorflow::XlaOpKernelContext* context) const {
    constexpr ProductInputs kInputs = InputsOf(kProduct);
    const auto first = context->Input(kInputs.first), second = context->Input(kInputs.second);
    TF_ASSIGN_OR_RETURN(xla::Shape inputs, context->InputXlaShape(0));
    if constexpr (kProduct == Product::kKernelGradient) {
      TF_ASSIGN_OR_RETURN(xla::Shape kernel, context->InputXlaShape(kInputs.mask));
      kernel.set_element_type(inputs.element_type());
      return rules_.DenseKernelGradient(type_string(), first, kernel, second);
    } else {
      const xla::XlaOp kernel = Masked(context->Input(kInputs.mask), second);
      if constexpr (kProduct == Product::kInputGradient)
        return rules_.DenseInputGradient(type_string(), inputs, kernel, first);
      return rules_.DenseForward(type_string(), first, kernel);
    }
  }

  Rules rules_;
  MaskStructure structure_;
  bool is_on_gpu_;
};

}  // namespace keras_sparse
