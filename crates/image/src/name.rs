//! Names of operations, filters and colour spaces, compared leniently.

/// `name` without case, spaces, `-`, `_` and `.`, so that `ACES2065-1`, `aces2065_1` and `Aces2065_1` agree.
pub(crate) fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}
