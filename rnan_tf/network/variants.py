"""Model sizes as plain data: constructor arguments of `rnan_tf.RNAN`."""

VARIANTS = {
    # The paper's network, section 4.1: 10 blocks of 64 filters.
    "rnan": {"filters": 64, "num_blocks": 10},
    # Half resolution inside, for CPUs and phones: attention costs 16 times less.
    "rnan_lite": {"filters": 48, "num_blocks": 4, "space_to_depth": 2},
    # Its form for super-resolution: the input is small already; half of it loses 0.7 dB (docs/recipe.md).
    "rnan_lite_sr": {"filters": 48, "num_blocks": 4, "subpixel_tail": True},
}
