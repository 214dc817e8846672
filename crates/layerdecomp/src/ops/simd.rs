//! Which vector instructions the loops here use, found out when they run.

/// Vector instructions, from the narrowest. Every loop gives the same bytes with each: no sum's order depends on them, and each
/// multiplies and adds in one rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Simd {
    /// What every machine has.
    Portable,
    /// Eight values at a time.
    Avx2,
    /// Sixteen at a time, in twice as many registers.
    Avx512,
}

#[cfg(test)]
thread_local! {
    /// The most that this thread may use, so that tests can compare.
    pub(crate) static AT_MOST: std::cell::Cell<Simd> = const { std::cell::Cell::new(Simd::Avx512) };
}

/// The widest instructions of this machine.
#[inline]
pub(crate) fn simd() -> Simd {
    let most = detected();
    #[cfg(test)]
    let most = most.min(AT_MOST.get());
    most
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn detected() -> Simd {
    use std::is_x86_feature_detected as has;
    if !(has!("avx2") && has!("fma")) {
        Simd::Portable
    } else if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
        Simd::Avx512
    } else {
        Simd::Avx2
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detected() -> Simd {
    Simd::Portable
}

/// Defines a loop three times, compiled for what every machine has, for AVX2 and for AVX-512, and a function that picks at run time.
/// The loop is written in plain Rust with [`f32::mul_add`], so all give the same bytes.
macro_rules! dispatched {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(unsafe_code, clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }
                // SAFETY: the features were just detected.
                match $crate::ops::simd::simd() {
                    $crate::ops::simd::Simd::Avx512 => return unsafe { avx512($($arg),*) },
                    $crate::ops::simd::Simd::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::ops::simd::Simd::Portable => {}
                }
            }
            body($($arg),*)
        }
    };
}
pub(super) use dispatched;
