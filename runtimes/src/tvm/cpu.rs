//! The instructions that compiled code may need, in the levels of LLVM and of the ABI for x86-64.

/// For any processor of the architecture.
const GENERIC: &str = "generic";

/// The highest level that this processor has, for code that is to run here.
pub fn level() -> &'static str {
    LEVELS
        .iter()
        .rev()
        .find(|(_, has)| has())
        .map_or(GENERIC, |(name, _)| name)
}

/// Whether code for this level runs here.
pub fn runs(needed: &str) -> bool {
    check(needed).is_ok()
}

/// Refuses code for instructions that this processor does not have: it would end the process at the first of them.
pub(super) fn check(needed: &str) -> Result<(), String> {
    if needed == GENERIC {
        return Ok(());
    }
    match LEVELS.iter().find(|(name, _)| *name == needed) {
        Some((_, has)) if has() => Ok(()),
        Some(_) => Err(format!(
            "its code needs a processor of level {needed}, and this one is {}",
            level()
        )),
        None => Err(format!(
            "its code is for processors of the unknown level {needed}"
        )),
    }
}

/// Levels, each of which has what is before it, and whether this processor is of it.
type Levels = &'static [(&'static str, fn() -> bool)];

#[cfg(target_arch = "x86_64")]
const LEVELS: Levels = &[
    ("x86-64-v2", || {
        std::arch::is_x86_feature_detected!("sse4.2") && std::arch::is_x86_feature_detected!("popcnt")
    }),
    ("x86-64-v3", || {
        std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2")
            && std::arch::is_x86_feature_detected!("f16c")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("lzcnt")
            && std::arch::is_x86_feature_detected!("movbe")
    }),
    ("x86-64-v4", || {
        std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512cd")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl")
    }),
];

#[cfg(not(target_arch = "x86_64"))]
const LEVELS: Levels = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_for_this_processor_and_for_any_is_taken() {
        assert_eq!(check(level()), Ok(()));
        assert_eq!(check(GENERIC), Ok(()));
    }

    #[test]
    fn a_level_that_is_not_known_is_refused() {
        let refused = check("x86-64-v9").unwrap_err();
        assert_eq!(
            refused,
            "its code is for processors of the unknown level x86-64-v9"
        );
    }
}
