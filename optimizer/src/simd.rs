//! The widest vectors of the processor that the program runs on.

/// Runs `work` compiled for the widest vectors of this processor. What it calls must be inlined into it.
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
