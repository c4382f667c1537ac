"""An optimizer around an optimizer that holds the masks and applies them every step; what changes them comes on top.

Frozen weights (``trainable = False``) keep their masks and are left as they are.
"""

import warnings
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse import blocks, checkpoint
from keras_sparse._keras import calling_model, eager_scope, has_value, multiply_in_place, steps_see_only_their_own_state, to_float32, to_numpy
from keras_sparse.budget import to_whole_blocks
from keras_sparse.fused_sgd import fuse_momentum
from keras_sparse.initial_masks import check_kind, initial_mask, reconcile
from keras_sparse.initial_scale import check_initial_scale
from keras_sparse.kernel_mask import KernelMask, kernel_mask_of
from keras_sparse.momentum import GradientAverage
from keras_sparse.seed import Seed
from keras_sparse.selection import Selection
from keras_sparse.untrained import scale_untrained
from keras_sparse.wrapper import OptimizerWrapper

# Saved with the masks; all but `epoch`, the epoch that runs (1, 2, ...; 0: no training), are optimizer steps. The growth window is
# closed where `window_opened` is -1.
COUNTERS = ("last_update", "training_start", "training_stop", "epoch", "window_opened")
SEED = "seed"  # saved with them; files of version 0.1.0 may have none
NOT_RESTORED = -2  # of the epoch, until the first masks are made: TensorFlow has put back no checkpoint


class MaskedOptimizer(OptimizerWrapper):
    """Masks as variables of the optimizer: weights hold the zeros, gradients and momenta stay dense.

    Args:
        inner_optimizer: a Keras 3 optimizer or its name.
        selection: which weights get a mask.
        initial_masks: ``"random"``, ``"magnitude"`` or ``"nonzero"``.
        block_shape: (in, out) channels of a block, or None.
        gradient_average: keeps what momentum the inner optimizer does not, or None.
        seed: of the initial masks; None: drawn as Keras draws seeds, and saved.
        name: of this optimizer.
        initial_scale: ``"auto"`` or None, see ``keras_sparse.initial_scale``.
    """

    def __init__(
        self,
        inner_optimizer: Any,
        selection: Selection,
        initial_masks: str,
        block_shape: Any,
        gradient_average: GradientAverage | None,
        seed: int | None,
        name: str | None = None,
        initial_scale: str | None = None,
    ) -> None:
        super().__init__(inner_optimizer, name=name)
        fuse_momentum(self.inner_optimizer, self._take_mask)
        self.selection = selection
        self.initial_masks = check_kind(initial_masks)
        self.block_shape = blocks.check_block_shape(block_shape)
        self._seed = Seed(seed)
        self.initial_scale = check_initial_scale(initial_scale)
        self._scale_is_due = False  # masks were drawn over weights of a model that is not known
        self._gradient_average = gradient_average
        self._model: Any = lambda: None
        self.counters: dict[str, Any] = {}
        self.masked_indices: list[int] = []
        self.mask_variables: list[Any] = []
        self._taken_masks: set[int] | None = None  # while a step is made: indices of the weights that the inner optimizer masks
        self.masks_were_loaded = False  # from a file: it says which weights are masked
        self._loaded: Any = None  # a SavedState, or all values of a .h5 file, that wait for the optimizer to be built
        self._notice: str | None = None  # a warning that waits for the first step: a file may be loaded until then
        self._doubt: Exception | None = None  # about the selection, as long as the model is not known

    @property
    def seed(self) -> int:
        """Of random masks and scores."""
        return self._seed.value

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
        if self._scale_is_due:
            self._scale_weights(list(self.masks.values()))
        known = self.selection.select(self._trainable_variables, model)
        self._doubt = None
        if not self.mask_variables:
            self._make_masks(known)
        elif known != self.masked_indices and self.step() == 0 and not self.masks_were_loaded:
            wrong = [self._trainable_variables[i].path for i in set(known) ^ set(self.masked_indices)]
            raise ValueError(
                "The optimizer was built without its model and took some weights for others than they are: call "
                f"`optimizer.build(model)` before `fit`. Received: {wrong}"
            )
        self._fill_dense_layers()

    def build(self, variables: Any) -> None:
        """Makes the masks and applies them.

        Args:
            variables: the trainable variables; or the model, then layer types and depthwise kernels are told for certain.
                Without any (all are frozen, or Keras has loaded a .h5 file) nothing is built, until there are some.
        """
        if self.built:
            return
        if isinstance(variables, keras.Model):
            self._model = weakref.ref(variables)
            variables = variables.trainable_variables
        variables = list(variables)
        if not variables:
            return
        with eager_scope():
            chosen = self._select(variables)
            if not self.inner_optimizer.built:
                self.inner_optimizer.build(variables)
            super().build(variables)
            self._seed.build()
            not_restored = keras.initializers.Constant(NOT_RESTORED)
            self.counters = {name: self.add_variable((), not_restored if name == "epoch" else "zeros", "int", name=name) for name in COUNTERS}
            self.growth_window_open = self.add_variable((), initializer="ones", dtype="bool", name="growth_window_open")
            if self._model() is not None or not self.selection.needs_model or self._loaded is not None:
                self._make_masks(chosen)

    def _select(self, variables: Sequence[Any]) -> list[int]:
        """Without the model a selector that selects nothing may name frozen weights: an error later, if it is none."""
        try:
            return self.selection.select(variables, self._model())
        except ValueError as error:
            if self._model() is not None:
                raise
            self._doubt = error
            return self.selection.select_known(variables)

    def _make_masks(self, indices: Sequence[int]) -> None:
        """The first masks: those of a file or checkpoint that was read before, else ``initial_masks``."""
        for i in indices:
            blocks.check_divisible(self._trainable_variables[i].path, tuple(self._trainable_variables[i].shape), self.block_shape)
        loaded, self._loaded = self._loaded, None
        if isinstance(loaded, checkpoint.SavedState):
            self._put_back(loaded, indices, goes_on=False)
        elif loaded is not None:
            self.make_mask_variables(indices)
            self.set_weights(loaded)
            self.masks_were_loaded = True
        else:
            masks = None if self._was_restored() else self._first_masks(indices)
            self.make_mask_variables(indices)
            if masks is None:
                self._check_masks(self.masks)
                self.put_masks(list(self.masks.values()))
            else:
                self._begin_with(masks)
        self._fill_dense_layers()

    def _first_masks(self, indices: Sequence[int]) -> list[np.ndarray]:
        """What ``initial_masks`` says."""
        step = self.step()
        if step and self.initial_masks == "random":
            warnings.warn(RANDOM_OVER_TRAINED, stacklevel=2)
        variables = [self._trainable_variables[i] for i in indices]
        names, shapes = [v.path for v in variables], [tuple(v.shape) for v in variables]
        readable = all(map(has_value, variables))
        if self.initial_masks != "random" and not readable:
            raise ValueError(
                "The weights that `initial_masks` looks at are only made in the first step: build the model before `fit`, with keras.Input or a call. "
                f"Received: initial_masks={self.initial_masks!r}"
            )
        counts = self._initial_counts_in_blocks(names, shapes, step) if indices else []
        rng = np.random.default_rng([self.seed, step])
        masks = [
            initial_mask(self.initial_masks, name, self._looked_at(v) if readable else np.zeros(shape, np.float32), n, self.block_shape, rng)
            for v, name, shape, n in zip(variables, names, shapes, counts, strict=True)
        ]
        self._warn_if_too_dense(masks, sum(counts))
        return masks

    def _initial_counts_in_blocks(self, names: Sequence[str], shapes: Sequence[tuple[int, ...]], step: int) -> list[int]:
        wanted = self.initial_counts(names, shapes, step)
        counts = to_whole_blocks(wanted, shapes, self.block_shape)
        largest = max(blocks.block_size(shape, self.block_shape) for shape in shapes)
        if sum(counts) >= sum(wanted) + largest:  # one block in each layer is more than was asked for
            raise ValueError(
                f"`density` leaves fewer active weights ({sum(wanted)}) than one block of {self.block_shape} in each of the {len(shapes)} masked "
                f"layers has ({sum(counts)}). Choose smaller blocks, a higher density, or name layers in `dense`. Received: {list(names)}"
            )
        return counts

    def _warn_if_too_dense(self, masks: Sequence[np.ndarray], wanted: int) -> None:
        """Weights that are not sparse, or not in blocks, do not become so by ``initial_masks="nonzero"``."""
        found, total = sum(map(np.count_nonzero, masks)), sum(mask.size for mask in masks)
        if self.initial_masks == "nonzero" and found > wanted + 0.01 * total:
            in_blocks = "" if self.block_shape is None else f" in whole blocks of {self.block_shape}"
            self._notice = (
                f'The density will not be the one asked for: initial_masks="nonzero" keeps all weights that are not 0, {found / total:.3f} of them{in_blocks}. '
                f'Pass initial_masks="magnitude" to prune to the density. Received: a density of {wanted / total:.3f}'
            )

    def _begin_with(self, masks: Sequence[np.ndarray]) -> None:
        """Masks the weights; the counters are those of a run that begins at this step."""
        self._reset_counters()
        if self.initial_scale == "auto" and self.initial_masks == "random":
            self._scale_weights(masks)
        self.assign_masks(masks)
        self.open_growth_window(self.grows_by_gradients())

    def _reset_counters(self) -> None:
        for name, value in (("last_update", self.step()), ("training_start", 0), ("training_stop", -1), ("epoch", 0)):
            self.set_counter(name, value)

    def _was_restored(self) -> bool:
        """Has TensorFlow put back the values of a checkpoint, which was read before there were variables?"""
        return self.counter("epoch") != NOT_RESTORED

    def _fill_dense_layers(self) -> None:
        """Sparse layers that are trained without a mask of this optimizer are dense: their own masks are True."""
        masked = set(self.masked_indices)
        for i, variable in enumerate(self._trainable_variables):
            kernel_mask = kernel_mask_of(variable)
            if kernel_mask is not None and i not in masked and variable.trainable:
                kernel_mask.belongs_to(self)
                if kernel_mask.density() < 1:
                    kernel_mask.assign(np.ones(kernel_mask.shape, bool))

    def _scale_weights(self, masks: Sequence[np.ndarray]) -> None:
        """Gives untrained weights their initial scale; later, if nobody knows the model by now."""
        model = self._model() or calling_model(self._trainable_variables)
        self._scale_is_due = model is None
        if model is not None:
            scale_untrained(model, self.masked_variables, masks)

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
        average = self._gradient_average
        if average is not None and average.built and list(map(id, average._trainable_variables)) != list(map(id, variables)):
            self._gradient_average = GradientAverage(average.decay)
        if self._gradient_average is not None and variables:
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
        """Sets all variables, in the order of ``variables``; those of a .h5 file wait until the optimizer is built."""
        if not self.built:
            self._loaded = [np.asarray(value) for value in weights]
            return
        super().set_weights(weights)
        self.put_masks(list(self.masks.values()))

    def step(self) -> int:
        """Optimizer steps made so far; micro-batches of an accumulated gradient and skipped steps do not count."""
        return int(to_numpy(self.iterations))

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        grads = list(grads)
        if not self.built and trainable_variables is not None:
            self.build(trainable_variables)
        if not grads or not self.built:
            self.inner_optimizer.apply(grads, trainable_variables)  # does nothing, or says what is missing
            return
        self._check_ready()
        variables = self._trainable_variables if trainable_variables is None else list(trainable_variables)
        self._check_known(variables)
        taken = self._apply_inner(grads, trainable_variables)
        stepped = {self._get_variable_index(v) for v in variables}
        if self._gradient_average is not None:
            pairs = [(g, v) for g, v in zip(grads, variables, strict=True) if self._get_variable_index(v) in self.masked_indices]
            self._gradient_average.apply([g for g, _ in pairs], [v for _, v in pairs])
        overwritten = set(self.masked_indices) if _keeps_averages_of_weights(self.inner_optimizer) else set()
        self._multiply(set(self.masked_indices) & (stepped | overwritten) - taken)

    def _check_ready(self) -> None:
        """Says, in the first step, what is missing or will be otherwise than asked for."""
        if not self.mask_variables and self.selection.needs_model and self._model() is None:
            raise ValueError(
                "`dense` or `sparse` name layer types and the model is not known. Call `optimizer.build(model)` first, or train with "
                f"the UpdateMasks callback. Received: {self.selection}"
            )
        if self._doubt is not None:
            raise self._doubt
        if self._scale_is_due:
            self._warn_of_scale()
        if self._notice is not None:
            notice, self._notice = self._notice, None
            warnings.warn(notice, stacklevel=2)

    def _check_known(self, variables: Sequence[Any]) -> None:
        unknown = [v.path for v in variables if self._var_key(v) not in self._trainable_variables_indices]
        if unknown:
            raise ValueError(
                "The model has trainable weights that it had not when the optimizer was built: layers were built or unfrozen since. Build all layers "
                'first, by a call of the model; or compile with a new SparseMomentum, with initial_masks="nonzero" to keep the masks there are. '
                f"Received: unknown variables {unknown}"
            )

    def _warn_of_scale(self) -> None:
        self._scale_is_due = False  # say it once
        with eager_scope():
            if steps_see_only_their_own_state() or self.step() == 0:
                warnings.warn(SCALE_OF_UNKNOWN_MODEL, stacklevel=3)

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
        """weight <- weight * mask, for every masked weight that is trainable, on every replica."""
        self._multiply({self.masked_indices[position] for position in self.trained_positions()})

    def _multiply(self, indices: set[int]) -> None:
        pairs = [(self._trainable_variables[i], mask) for i, mask in zip(self.masked_indices, self.mask_variables, strict=True) if i in indices]
        multiply_in_place([variable for variable, _ in pairs], [mask for _, mask in pairs])

    def trained_positions(self) -> list[int]:
        """Places, in ``masks``, of the weights that are trainable now. Mask updates leave the others, which are frozen."""
        return [position for position, variable in enumerate(self.masked_variables) if variable.trainable]

    def finalize_variable_values(self, var_list: Any) -> None:
        frozen = [variable for variable in self._trainable_variables if not variable.trainable]
        if frozen and _keeps_averages_of_weights(self.inner_optimizer):
            values = [to_numpy(variable) for variable in frozen]
            super().finalize_variable_values(self._trainable_variables)  # the averages are those of all, in order
            for variable, value in zip(frozen, values, strict=True):
                variable.assign(value)
        else:
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
            ValueError: unknown path, other shape or dtype, no active weight, blocks that are not whole. Nothing is changed then.
        """
        current = self.masks
        masks = {path: np.asarray(mask) for path, mask in masks.items()}
        for path in masks:
            if path not in current:
                raise ValueError(f"`masks` names a weight that has no mask. Received: {path!r}; masked are {list(current)}")
        self._check_masks(masks)
        positions = [position for position, path in enumerate(current) if path in masks]
        self.put_masks([masks[path] for path in current if path in masks], positions)
        self._multiply({self.masked_indices[position] for position in positions})

    def _check_masks(self, masks: Mapping[str, np.ndarray]) -> None:
        """Raises ValueError for another shape or dtype, no active weight, or blocks that are not whole."""
        shapes = {name: tuple(variable.shape) for name, variable in zip(self.masked_names, self.masked_variables, strict=True)}
        for path, mask in masks.items():
            if mask.dtype != bool or mask.shape != shapes[path] or not mask.any():
                raise ValueError(
                    f"A mask must be bool, of the weight's shape {shapes[path]}, with an active weight. "
                    f"Received: {path!r} of dtype {mask.dtype}, shape {mask.shape}, {np.count_nonzero(mask)} active"
                )
            blocks.check_whole(path, mask, self.block_shape)

    def total_density(self) -> float:
        """Active / all masked weights, frozen ones included; 1.0 where no weight is masked."""
        masks = [to_numpy(mask) for mask in self.mask_variables]
        return sum(int(np.count_nonzero(mask)) for mask in masks) / sum(mask.size for mask in masks) if masks else 1.0

    def follow_weights(self) -> None:
        """Changes the masks where weights of an earlier epoch were put back; see ``fitting_masks``."""
        masks = list(self.masks.values())
        fitting = self.fitting_masks(masks)
        if any(new is not old for new, old in zip(fitting, masks, strict=True)):
            self.assign_masks(fitting)

    def fitting_masks(self, masks: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """All masks, or those of an earlier epoch where its weights were put back; see ``reconcile``. Frozen ones as they are."""
        masks, positions = list(self.masks.values() if masks is None else masks), self.trained_positions()
        names, variables = self.masked_names, self.masked_variables
        weights = [to_float32(variables[i]) for i in positions]
        fitting = reconcile([names[i] for i in positions], weights, [masks[i] for i in positions], self.block_shape)
        for i, mask in zip(positions, fitting, strict=True):
            masks[i] = mask
        return masks

    def assign_masks(self, masks: Sequence[np.ndarray], positions: Sequence[int] | None = None) -> None:
        """Replaces masks at once, and masks the weights that are trainable.

        Args:
            masks: bool arrays.
            positions: their places in ``masks``; None: all, in order.
        """
        self.put_masks(masks, positions)
        if all(map(has_value, self.masked_variables)):  # else the step that makes them masks them
            self.apply_masks()

    def put_masks(self, masks: Sequence[np.ndarray], positions: Sequence[int] | None = None) -> None:
        """Replaces masks at once, the optimizer's and the layers', and leaves the weights; see ``assign_masks``."""
        positions = range(len(self.mask_variables)) if positions is None else positions
        for position, mask in zip(positions, masks, strict=True):
            variable, kernel_mask = self.mask_variables[position], kernel_mask_of(self.masked_variables[position])
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

    def _state(self) -> checkpoint.SavedState:
        variables = self._trainable_variables
        masks = [to_numpy(mask) for mask in self.mask_variables]
        masked = [checkpoint.SavedMask(i, variables[i].path, mask) for i, mask in zip(self.masked_indices, masks, strict=True)]
        counters = {name: self.counter(name) for name in self.counters} | {SEED: self.seed}
        return checkpoint.SavedState(masked, counters, [(v.path, tuple(v.shape)) for v in variables])

    def save_own_variables(self, store: Any) -> None:
        """Masks and counters, to a Keras weight store; what was loaded and has not been used is saved again."""
        if self.built:
            self._state().write(store)
        elif isinstance(self._loaded, checkpoint.SavedState):
            self._loaded.write(store)
        else:
            for i, value in enumerate(self._loaded or ()):
                store[f"{OF_H5_FILE}{i}"] = value

    def load_own_variables(self, store: Any) -> None:
        """Reads masks and counters of a Keras weight store. Where the optimizer is not built they wait until it is.

        Raises:
            ValueError: no masks in the store, and the optimizer has some; masks of another model, or not made of whole blocks.
        """
        loaded = checkpoint.read(store, (*COUNTERS, SEED))
        waiting = [key for key in list(store.keys()) if key.startswith(OF_H5_FILE)]
        values = [store[f"{OF_H5_FILE}{i}"] for i in range(len(waiting))]
        if not self.built:
            self._loaded = loaded or values or None
            return  # without masks: dense weights for a run that has not begun; `initial_masks` will look at them
        if values:
            self.set_weights(values)
            self.masks_were_loaded = True
            return
        if loaded is None:
            raise ValueError(
                "The checkpoint holds no masks and this is a sparse run. To go on from its weights, load them before the optimizer is built, with "
                'SparseMomentum(..., initial_masks="nonzero") if they are sparse, "magnitude" if they are dense. '
                f"Received: optimizer state {sorted(store.keys())}"
            )
        self._put_back(loaded, self.masked_indices, goes_on=loaded.is_list_of(self._trainable_variables))

    def _put_back(self, loaded: checkpoint.SavedState, chosen: Sequence[int], goes_on: bool) -> None:
        """Takes masks of a file, and leaves the weights.

        Args:
            loaded: masks and counters.
            chosen: indices of the weights that would be masked without the file.
            goes_on: True: takes the counters, too. Keras skips the state of an inner optimizer that was not built, or built
                for other weights; then the run begins anew, with the masks of the file.
        """
        variables = self._trainable_variables
        masks = loaded.masks_for(variables, chosen)
        for i, mask in masks.items():
            blocks.check_whole(variables[i].path, mask, self.block_shape)
        if sorted(masks) != self.masked_indices or len(masks) != len(self.mask_variables):
            self.make_mask_variables(sorted(masks))
        self.put_masks([masks[i] for i in self.masked_indices])
        self._reset_counters()
        if goes_on:
            for name, value in loaded.counters.items():
                if name == SEED:
                    self._seed.go_on_with(value)
                else:
                    self.set_counter(name, value)
        self.open_growth_window(loaded.counters.get("window_opened", 0) >= 0)
        self.masks_were_loaded, self._notice, self._doubt = True, None, None
        self._fill_dense_layers()


def _keeps_averages_of_weights(optimizer: Any) -> bool:
    """Does this optimizer, or a part of it, write averaged weights into the model?"""
    return any(part.use_ema for part in [optimizer, *getattr(optimizer, "optimizers", ())])


OF_H5_FILE = "value_"  # and a number: a variable of a .h5 file that was loaded, and saved before it was used
RANDOM_OVER_TRAINED = (
    "A random mask over trained weights throws away most of what they have learnt. "
    'Pass `initial_masks="magnitude"` to keep the largest ("nonzero" if they are sparse already).'
)

SCALE_OF_UNKNOWN_MODEL = (
    "The masked weights keep the scale of dense ones, with which deep networks without normalisation may not learn: the optimizer "
    "does not know the model, whose layers say how weights were initialized. Call `optimizer.build(model)` before training, or "
    "pass `initial_scale=None`. Received: an optimizer built from variables"
)
