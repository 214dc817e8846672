// The sources in `cu/` and the kernels in each. Included by the build script as well.

/// Sources and their kernels.
pub const SOURCES: &[(&str, &[&str])] = &[
    (
        "attention",
        &[
            "attention_32",
            "attention_64",
            "attention_96",
            "attention_128",
            "qk_norm",
        ],
    ),
    (
        "attention_back",
        &["attention_deltas", "attention_queries_32", "attention_keys_32", "attention_queries_64", "attention_keys_64", "attention_queries_96", "attention_keys_96", "attention_queries_128", "attention_keys_128"],
    ),
    ("conv", &["conv3x3_bf16", "conv3x3_f32"]),
    (
        "conv_back",
        &["conv3x3_back_input", "conv3x3_back_weight"],
    ),
    ("latents", &["draw_latents", "draw_latents_back"]),
    (
        "linear",
        &[
            "linear_bf16",
            "linear_int8",
            "linear_gated_bf16",
            "linear_gated_int8",
        ],
    ),
    (
        "linear_back",
        &["linear_back_input", "linear_back_weight"],
    ),
    ("loss", &["pixel_weights", "layer_errors", "consistency"]),
    ("norm", &["norm_modulate", "less_means", "group_moments", "group_norm_silu"]),
    (
        "norm_back",
        &["norm_modulate_back", "modulation_sums", "qk_norm_back", "group_sums", "group_norm_back"],
    ),
    ("paint", &["view", "paint"]),
    (
        "pictures",
        &[
            "patchify",
            "unpatchify",
            "planes",
            "combine",
            "refiner_inputs",
            "add_pictures",
            "softmax_rows",
            "softmax_rows_back",
        ],
    ),
    (
        "plate",
        &["light_encode", "light_decode", "unshadow", "over", "recompose"],
    ),
    (
        "sums",
        &["bias_sums", "sum_parts", "squares"],
    ),
    (
        "training",
        &["activate", "activate_back", "gated_add", "gated_add_back", "gate_sums", "narrow_rows", "mark", "planes_back", "kernel_rows", "fill", "adamw"],
    ),
];
