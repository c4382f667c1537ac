// The activations behind a batch normalization: what each computes, and its gradient.
//
// One text serves every kind of number `V`: double in the reference, vectors of floats in the
// kernels, HLO under XLA. A kind has `<=` and `>=` with a float, `|` of what these give, and the
// functions Like and Select. Functions are inlined wherever they are called, so that files built
// for different processors never share one.
#pragma once

namespace keras_sparse {

// All of them: whoever lists them expands this list. The names are those of TensorFlow's operations
// and the values of the ops' attribute `activation`.
#define KS_ACTIVATIONS(X) X(None) X(Relu) X(Relu6)

#define KS_ENUMERATOR(NAME) k##NAME,
#define KS_VALUE(NAME) Activation::k##NAME,
#define KS_TEXT(NAME) #NAME,
enum class Activation { KS_ACTIVATIONS(KS_ENUMERATOR) };
constexpr Activation kActivations[] = {KS_ACTIVATIONS(KS_VALUE)};
constexpr const char* kActivationNames[] = {KS_ACTIVATIONS(KS_TEXT)};  // by Activation
#undef KS_ENUMERATOR
#undef KS_VALUE
#undef KS_TEXT

constexpr const char* NameOf(Activation activation) {
  return kActivationNames[static_cast<int>(activation)];
}

// `value` as a number of the kind of `z`.
template <class V>
[[gnu::always_inline]] inline V Like(V, float value) {
  return V{} + value;
}

template <class Mask, class V>
[[gnu::always_inline]] inline V Select(Mask mask, V on_true, V on_false) {
  return mask ? on_true : on_false;
}

// A struct for each: the outputs for `z`, which the normalization gives, and the gradient by `z`,
// for `g` by the outputs. What is not a number passes.
namespace activations {

struct None {
  template <class V>
  [[gnu::always_inline]] static V Outputs(V z) {
    return z;
  }
  template <class V>
  [[gnu::always_inline]] static V Gradient(V, V g) {
    return g;
  }
};

struct Relu {
  template <class V>
  [[gnu::always_inline]] static V Outputs(V z) {
    return Select(z <= 0.0f, Like(z, 0), z);
  }
  template <class V>
  [[gnu::always_inline]] static V Gradient(V z, V g) {
    return Select(z <= 0.0f, Like(z, 0), g);
  }
};

struct Relu6 {
  template <class V>
  [[gnu::always_inline]] static V Outputs(V z) {
    return Select(z <= 0.0f, Like(z, 0), Select(z >= 6.0f, Like(z, 6), z));
  }
  template <class V>
  [[gnu::always_inline]] static V Gradient(V z, V g) {
    return Select((z <= 0.0f) | (z >= 6.0f), Like(z, 0), g);
  }
};

}  // namespace activations

// use(the struct of an activation).
template <class Use>
[[gnu::always_inline]] inline auto WithActivation(Activation activation, const Use& use) {
#define KS_CASE(NAME)       \
  case Activation::k##NAME: \
    return use(activations::NAME{});
  switch (activation) { KS_ACTIVATIONS(KS_CASE) }
#undef KS_CASE
  return use(activations::None{});
}

}  // namespace keras_sparse
