"""The test files about rules/ and training/, and about one module of them."""

from changes import FOLDERS, ROOT, modules_in

OPTIONS = [
    *["-o", "addopts=--doctest-modules", "-m", "not slow"],
    *["-p", "no:cacheprovider", "-p", "no:terminal"],
]
# Test files about several modules of rules/ and training/.
FILES = "compiled_arguments freezing golden per_tap snip_first_masks structure_of_layers"
# Test files about a module, beside test_<module>.py: they are run before others. Files that are
# named nowhere here test kernels, layers and whole models.
ABOUT = {
    "rules/all_layers": "all_layers prune initial_masks snip cost_budget",
    "rules/asked": "cost_budget",
    "rules/blocks": "structure blocks_in_training",
    "rules/budget": "budget prune_and_grow_counts mask_update",
    "rules/coded_array": "coded_array compressed",
    "rules/density": "density density_log density_schedules",
    "rules/exact_counts": "density cost_budget",
    "rules/found_structure": "inspect",
    "rules/group_scores": "mask_update structure",
    "rules/mask_update": "mask_update mask_update_invariants",
    "rules/masked_layer": "scores mask_update",
    "rules/ragged": "ragged cost_budget mask_update structure ragged_blocks",
    "rules/ragged_update": "ragged mask_update cost_budget ragged_blocks mask_update_invariants",
    "rules/reconciled_masks": "reconciled_masks n_of_m",
    "rules/scores": "scores mask_update",
    "rules/single_weights": "n_of_m structure",
    "rules/structure_arguments": "structure",
    "rules/whole_groups": "whole_groups structure initial_masks",
    "rules/whole_numbers": "epoch_plan optimizer_arguments structure",
    "training/agreement": "stateless_steps",
    "training/asked_density": "density_schedules final_density update_watch",
    "training/backup": "backup_in_fit backup_of_keras",
    "training/backup_files": "backup_files backup",
    "training/before_first_step": "before_first_step every_step snip_first_masks",
    "training/callback_order": "callback_order beside_keras_callbacks",
    "training/callbacks": "callbacks_by_hand agreement several_optimizers compiled progress",
    "training/checkpoint": "checkpoint fixtures saved_before_training",
    "training/competing_masks": "snip kinds_of_first_masks multiply_add_budget",
    "training/counters": "masked_optimizer state_in_files checkpoint",
    "training/density_log": "density_log beside_keras_callbacks exploration",
    "training/explored_masks": "exploration masked_optimizer",
    "training/find_optimizer": "several_optimizers compiled",
    "training/first_masks": "kinds_of_first_masks snip multiply_add_budget",
    "training/fused_steps": "masked_step masked_step_op",
    "training/growth_window": "growth_window open_window growth_batch growth_in_windows",
    "training/held_masks": "masked_optimizer begins_anew exploration masks_hold",
    "training/mask_training": "mask_training ends_of_batches callbacks",
    "training/mask_watchers": "mask_board",
    "training/mask_updates": "mask_training open_window optimizers update_watch",
    "training/mask_variables": "masked_optimizer stateless_steps checkpoint multiply_add_budget",
    "training/masked_optimizer": "masked_optimizer stateless_steps begins_anew custom_loops",
    "training/masked_steps": "masks_hold custom_loops stateless_steps every_step",
    "training/masked_weight": "masked_optimizer exploration",
    "training/momentum": "momentum conformance",
    "training/open_window": "open_window custom_loops mask_training",
    "training/phases": "presets dense_phases preset_trainings",
    "training/presets": "presets preset_trainings error_messages",
    "training/pruning_presets": "presets preset_trainings error_messages",
    "training/restored_weights": "beside_keras_callbacks checkpoint dense_phases",
    "training/rule_checks": "optimizer_arguments optimizers optimizer_config",
    "training/scale_invariant": "untrained judged_weights",
    "training/schedules": "schedules presets",
    "training/seed": "seed error_messages optimizer_arguments optimizers",
    "training/selection": "depthwise",
    "training/selectors": "selection optimizer_config",
    "training/sensitivities": "snip",
    "training/settings": "presets",
    "training/snip": "snip error_messages",
    "training/sparse_momentum": "optimizer_config optimizer_arguments asked_density surface "
    "update_watch",
    "training/starting_masks": "kinds_of_first_masks begins_anew stateless_steps snip",
    "training/state_in_files": "what_is_saved stateless_steps begins_anew checkpoint mask_training",
    "training/tfmot_density": "schedules from_tfmot density_schedules final_density",
    "training/training_span": "mask_training own_accumulation ends_of_batches",
    "training/training_warnings": "training_warnings final_density callbacks",
    "training/untrained": "judged_weights untrained trained_weights_stay looks_trained",
    "training/update_watch": "several_optimizers compiled",
    "training/updated_optimizers": "several_optimizers compiled error_messages",
    "training/weight_costs": "multiply_add_budget",
    "training/wrapper": "wrapper error_messages tf_keras",
}
NAMED = {module.rpartition("/")[2] for module in modules_in(list(FOLDERS))}
PATHS = [
    *[f"keras_sparse/{folder}" for folder in FOLDERS],
    *[
        path
        for name in sorted({*FILES.split(), *" ".join(ABOUT.values()).split(), *NAMED})
        if (ROOT / (path := f"tests/test_{name}.py")).exists()
    ],
]


def files_about(module: str) -> tuple[str, ...]:
    """How the paths end of the files with tests about a module."""
    names = [module.rpartition("/")[2], *ABOUT.get(module, "").split()]
    return f"{module}.py", *[f"/test_{name}.py" for name in names]
