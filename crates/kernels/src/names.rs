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
    ("conv", &["conv3x3_bf16", "conv3x3_f32"]),
    (
        "linear",
        &[
            "linear_bf16",
            "linear_int8",
            "linear_gated_bf16",
            "linear_gated_int8",
        ],
    ),
    ("norm", &["norm_modulate", "group_moments", "group_norm_silu"]),
    ("paint", &["view", "paint"]),
    (
        "pictures",
        &["patchify", "unpatchify", "planes", "combine", "consistency"],
    ),
    (
        "plate",
        &["light_encode", "light_decode", "unshadow", "over", "recompose"],
    ),
];
