// The masked step for every other processor.
#include "custom_ops/cpu/momentum_loops.h"

namespace keras_sparse {

const MomentumKernels* PortableMomentum() { return portable::MomentumNamed("portable"); }

}  // namespace keras_sparse
