"""Who holds the masks and applies them every step?  An optimizer around an optimizer; what changes them comes on top."""

import warnings
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse import blocks, checkpoint
from keras_sparse._keras import eager_scope, has_value, multiply_in_place, steps_see_only_their_own_state, to_float32, to_numpy
from keras_sparse.fused_sgd import fuse_momentum
from keras_sparse.initial_masks import check_kind, initial_mask
from keras_sparse.kernel_mask import KernelMask, kernel_mask_of
from keras_sparse.momentum import GradientAverage
from keras_sparse.selection import Selection
from keras_sparse.wrapper import OptimizerWrapper

# Saved with the masks; all but `epoch`, the epoch that runs (1, 2, ...; 0: no training), are optimizer steps. The growth window is
# closed where `window_opened` is -1.
COUNTERS = ("last_update", "training_start", "training_stop", "epoch", "window_opened")


class MaskedOptimizer(OptimizerWrapper):
    """Masks as variables of the optimizer: weights hold the zeros, gradients and momenta stay dense.

    Args:
        inner_optimizer: a Keras 3 optimizer or its name.
        selection: which weights get a mask.
        initial_masks: ``"random"``, ``"magnitude"`` or ``"nonzero"``.
        block_shape: (in, out) channels of a block, or None.
        gradient_average: keeps what momentum the inner optimizer does not, or None.
        seed: of the initial masks.
        name: of this optimizer.
    """

    def __init__(
        self,
        inner_optimizer: Any,
        selection: Selection,
        initial_masks: str,
        block_shape: Any,
        gradient_average: GradientAverage | None,
        seed: int,
        name: str | None = None,
    ) -> None:
        super().__init__(inner_optimizer, name=name)
        fuse_momentum(self.inner_optimizer, self._take_mask)
        self.selection = selection
        self.initial_masks = check_kind(initial_masks)
        self.block_shape = blocks.check_block_shape(block_shape)
        self.seed = int(seed)
        self._gradient_average = gradient_average
        self._model: Any = lambda: None
        self.counters: dict[str, Any] = {}
        self.masked_indices: list[int] = []
        self.mask_variables: list[Any] = []
        self._taken_masks: set[int] | None = None  # while a step is made: indices of the weights that the inner optimizer masks

    def grows_by_gradients(self) -> bool:
        """Do the rules look at gradients of missing weights?"""
        return True

    def initial_counts(self, names: Sequence[str], shapes: Sequence[tuple[int, ...]], step: int) -> list[int]:
        """Active weights per layer when training starts at this optimizer step."""
        raise NotImplementedError(f"{type(self).__name__} must say how many weights are active at first.")

    # --- building

    def attach(self, model: keras.Model) -> None:
        """Tells whose the variables are, so that layer types can be told. The UpdateMasks callback does it in ``fit``."""
        self._model = weakref.ref(model)
        if not self.built:
            return
        known = self.selection.select(self._trainable_variables, model)
        if not self.mask_variables:
            self._make_masks(known)
        elif known != self.masked_indices and self.step() == 0:
            wrong = [self._trainable_variables[i].path for i in set(known) ^ set(self.masked_indices)]
            raise ValueError(
                "The optimizer was built without its model and took some weights for others than they are: call "
                f"`optimizer.build(model)` before `fit`. Received: {wrong}"
            )

    def build(self, variables: Any) -> None:
        """Makes the masks and applies them.

        Args:
            variables: the trainable variables; or the model, then layer types and depthwise kernels are told for certain.
        """
        if self.built:
            return
        if isinstance(variables, keras.Model):
            self._model = weakref.ref(variables)
            variables = variables.trainable_variables
        variables = list(variables)
        model = self._model()
        with eager_scope():
            chosen = self.selection.select(variables, model)
            if not self.inner_optimizer.built:
                self.inner_optimizer.build(variables)
            super().build(variables)
            self.counters = {name: self.add_variable((), dtype="int", name=name) for name in COUNTERS}
            self.growth_window_open = self.add_variable((), initializer="ones", dtype="bool", name="growth_window_open")
            if model is not None or not self.selection.needs_model:
                self._make_masks(chosen)

    def _make_masks(self, indices: Sequence[int]) -> None:
        step = self.step()
        if step and self.initial_masks == "random":
            warnings.warn(RANDOM_OVER_TRAINED, stacklevel=2)
        variables = [self._trainable_variables[i] for i in indices]
        names, shapes = [v.path for v in variables], [tuple(v.shape) for v in variables]
        for name, shape in zip(names, shapes, strict=True):
            blocks.check_divisible(name, shape, self.block_shape)
        readable = all(map(has_value, variables))
        if self.initial_masks != "random" and not readable:
            raise ValueError(
                "The weights that `initial_masks` looks at are only made in the first step: build the model before `fit`, with keras.Input or a call. "
                f"Received: initial_masks={self.initial_masks!r}"
            )
        counts = self.initial_counts(names, shapes, step)
        rng = np.random.default_rng([self.seed, step])
        masks = [
            initial_mask(self.initial_masks, name, self._looked_at(v) if readable else np.zeros(shape, np.float32), n, self.block_shape, rng)
            for v, name, shape, n in zip(variables, names, shapes, counts, strict=True)
        ]
        self.make_mask_variables(indices)
        self.set_counter("last_update", step)
        self.set_counter("training_stop", -1)
        self.assign_masks(masks)
        self.open_growth_window(self.grows_by_gradients())

    def _looked_at(self, variable: Any) -> np.ndarray:
        """The weight that a first mask is made of; for ``"nonzero"`` the mask itself, where a sparse layer has one."""
        kernel_mask = kernel_mask_of(variable)
        if self.initial_masks == "nonzero" and kernel_mask is not None and kernel_mask.density() < 1:
            return to_float32(kernel_mask.mask)
        return to_float32(variable)

    def make_mask_variables(self, indices: Sequence[int]) -> None:
        """Replaces the mask variables by empty ones for these trainable variables; a sparse layer's mask is taken as it is."""
        for mask in self._own_masks():
            self._untrack_variable(mask)
        variables = [self._trainable_variables[i] for i in indices]
        for variable in variables:
            if (kernel_mask := kernel_mask_of(variable)) is not None:
                kernel_mask.take_block_shape(variable.path, self.block_shape)
                kernel_mask.belongs_to(self)
        self.mask_variables = [self._mask_variable(variable) for variable in variables]
        self.masked_indices = list(indices)
        if self._gradient_average is not None and not self._gradient_average.built:
            self._gradient_average.build(variables)

    def _mask_variable(self, variable: Any) -> Any:
        kernel_mask = kernel_mask_of(variable)
        if kernel_mask is not None and not steps_see_only_their_own_state():
            return kernel_mask.mask  # one mask, which the layer owns
        return self.add_variable(variable.shape, dtype="bool", name=f"{variable.path.replace('/', '_')}_mask")

    def _own_masks(self) -> list[Any]:
        own = set(map(id, self._variables))
        return [mask for mask in self.mask_variables if id(mask) in own]

    def _kernel_masks(self) -> list[KernelMask]:
        """Those of the masked weights that are kernels of sparse layers."""
        return [kernel_mask for variable in self.masked_variables if (kernel_mask := kernel_mask_of(variable)) is not None]

    # --- every step

    @property
    def variables(self) -> list[Any]:
        own = set(map(id, self._variables))
        extra = [] if self._gradient_average is None else self._gradient_average.variables
        return super().variables + [mask for mask in self.mask_variables if id(mask) not in own] + extra

    def set_weights(self, weights: Any) -> None:
        super().set_weights(weights)
        self.put_masks(list(self.masks.values()))

    def step(self) -> int:
        """Optimizer steps made so far; micro-batches of an accumulated gradient and skipped steps do not count."""
        return int(to_numpy(self.iterations))

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if not self.built:
            self.build(trainable_variables)
        if not self.mask_variables:
            raise ValueError(
                "`dense` or `sparse` name layer types and the model is not known. Call `optimizer.build(model)` first, or train with "
                f"the UpdateMasks callback. Received: {self.selection}"
            )
        grads = list(grads)
        variables = self._trainable_variables if trainable_variables is None else list(trainable_variables)
        taken = self._apply_inner(grads, trainable_variables)
        if self._gradient_average is not None:
            masked = {self._var_key(self._trainable_variables[i]) for i in self.masked_indices}
            pairs = [(g, v) for g, v in zip(grads, variables, strict=True) if self._var_key(v) in masked]
            self._gradient_average.apply([g for g, _ in pairs], [v for _, v in pairs])
        self._multiply(set(self.masked_indices) - taken)

    def _apply_inner(self, grads: list[Any], trainable_variables: Any) -> set[int]:
        """A step of the inner optimizer; the indices of the weights that it masked."""
        self._taken_masks = set()
        try:
            self.inner_optimizer.apply(grads, trainable_variables)
            return set(self._taken_masks or ())  # None where another replica was first: under a strategy none are taken
        finally:
            self._taken_masks = None

    def _take_mask(self, variable: Any) -> Any:
        """The mask of a weight, for a step that applies it; None if it has none, or the inner optimizer runs on its own."""
        index = self._get_variable_index(variable)
        if self._taken_masks is None or index not in self.masked_indices:
            return None
        self._taken_masks.add(index)
        return self.mask_variables[self.masked_indices.index(index)]

    def apply_masks(self) -> None:
        """weight <- weight * mask, for every masked weight, on every replica."""
        self._multiply(set(self.masked_indices))

    def _multiply(self, indices: set[int]) -> None:
        pairs = [(self._trainable_variables[i], mask) for i, mask in zip(self.masked_indices, self.mask_variables, strict=True) if i in indices]
        multiply_in_place([variable for variable, _ in pairs], [mask for _, mask in pairs])

    def finalize_variable_values(self, var_list: Any) -> None:
        super().finalize_variable_values(var_list)
        self.apply_masks()  # averaged weights (use_ema) are dense

    # --- masks to see and to set

    @property
    def masked_variables(self) -> list[Any]:
        """The weights that have a mask, in the order of ``masks``."""
        return [self._trainable_variables[i] for i in self.masked_indices]

    @property
    def masked_names(self) -> list[str]:
        """Paths of these weights; where Keras gives several weights one path, the second is ``path#2``, and so on."""
        paths = [variable.path for variable in self.masked_variables]
        return [f"{path}#{paths[:i].count(path) + 1}" if path in paths[:i] else path for i, path in enumerate(paths)]

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """{path of the weight: bool array of its shape}, copies; see ``masked_names`` for the paths."""
        return {name: to_numpy(mask) for name, mask in zip(self.masked_names, self.mask_variables, strict=True)}

    def set_masks(self, masks: Mapping[str, np.ndarray]) -> None:
        """Replaces masks and masks the weights.

        Args:
            masks: {path: bool array of the weight's shape}; weights that are not named keep theirs.

        Raises:
            ValueError: unknown path, other shape or dtype, no active weight. Nothing is changed then.
        """
        current = self.masks
        for path, mask in masks.items():
            if path not in current:
                raise ValueError(f"`masks` names a weight that has no mask. Received: {path!r}; masked are {list(current)}")
            mask = np.asarray(mask)
            if mask.dtype != bool or mask.shape != current[path].shape or not mask.any():
                raise ValueError(
                    f"A mask must be bool, of the weight's shape {current[path].shape}, with an active weight. "
                    f"Received: {path!r} of dtype {mask.dtype}, shape {mask.shape}, {np.count_nonzero(mask)} active"
                )
        self.assign_masks([np.asarray(masks.get(path, mask)) for path, mask in current.items()])

    def total_density(self) -> float:
        """Active / all masked weights."""
        masks = [to_numpy(mask) for mask in self.mask_variables]
        return sum(int(np.count_nonzero(mask)) for mask in masks) / sum(mask.size for mask in masks)

    def assign_masks(self, masks: Sequence[np.ndarray]) -> None:
        """Replaces all masks at once, in order, and masks the weights."""
        self.put_masks(masks)
        if all(map(has_value, self.masked_variables)):  # else the step that makes them masks them
            self.apply_masks()

    def put_masks(self, masks: Sequence[np.ndarray]) -> None:
        """Replaces all masks at once, in order, the optimizer's and the layers', and leaves the weights."""
        for weight, variable, mask in zip(self.masked_variables, self.mask_variables, masks, strict=True):
            kernel_mask = kernel_mask_of(weight)
            if kernel_mask is None or kernel_mask.mask is not variable:
                variable.assign(mask)
            if kernel_mask is not None:
                kernel_mask.assign(mask)

    # --- the growth window

    def open_growth_window(self, is_open: bool) -> None:
        """Says whether missing weights get gradients from the next step on, in every sparse layer.

        The UpdateMasks callback does it in ``fit``. In a custom loop the window is open until you close it; call it
        between steps, outside of ``tf.function``. Other layers compute dense gradients always.

        Args:
            is_open: True: the weight gradient is dense; False: missing weights get none, and what their momentum
                remembers fades.
        """
        if bool(to_numpy(self.growth_window_open)) != is_open:
            self.growth_window_open.assign(is_open)
        if (self.counter("window_opened") >= 0) != is_open:
            self.set_counter("window_opened", self.step() if is_open else -1)
        for kernel_mask in self._kernel_masks():
            kernel_mask.want_dense_weight_gradient(is_open)

    def window_opened(self) -> int:
        """The step since which there is something to grow by; -1: there is nothing, the window is closed."""
        if not self.grows_by_gradients() or not self._kernel_masks():
            return 0
        return self.counter("window_opened")

    def can_grow(self) -> bool:
        """Is there anything to grow by?  No, where a rule reads gradients and sparse layers compute none of missing weights."""
        return self.window_opened() >= 0

    # --- state

    def counter(self, name: str) -> int:
        """A saved counter, one of COUNTERS."""
        return int(to_numpy(self.counters[name]))

    def set_counter(self, name: str, value: int) -> None:
        self.counters[name].assign(value)

    def save_own_variables(self, store: Any) -> None:
        checkpoint.save(self, store)

    def load_own_variables(self, store: Any) -> None:
        checkpoint.load(self, store)


RANDOM_OVER_TRAINED = (
    "A random mask over trained weights throws away most of what they have learnt. "
    'Pass `initial_masks="magnitude"` to keep the largest ("nonzero" if they are sparse already).'
)
