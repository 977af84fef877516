//! Numbers that lie in a library's memory as they do in ours.

use half::f16;

/// Numbers for which any bytes are a value.
///
/// # Safety
///
/// Any bytes must be a value, and the alignment must be 8 at most.
#[expect(unsafe_code, reason = "the promise is about memory")]
pub(crate) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($number:ty),*) => {
        $(
            // SAFETY: it is a number.
            #[expect(unsafe_code, reason = "the promise is about memory")]
            unsafe impl Plain for $number {}
        )*
    };
}

plain!(f32, f16, i64, i32, i8, u8);
