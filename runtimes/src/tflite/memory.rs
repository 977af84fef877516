//! Memory that LiteRT reads and writes: aligned as it wants, and longer than it says.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crate::plain::Plain;

/// `LITERT_HOST_MEMORY_BUFFER_ALIGNMENT`.
pub(super) const ALIGNMENT: usize = 64;

/// XNNPACK reads up to this far beyond the end of what it is given (`XNN_EXTRA_BYTES`, 128 with Hexagon).
const BEYOND: usize = 128;

/// Bytes that stay where they are.
pub(super) struct Memory {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: it is the only owner of its bytes.
#[expect(unsafe_code, reason = "the owner holds a pointer")]
unsafe impl Send for Memory {}
// SAFETY: a shared reference only reads.
#[expect(unsafe_code, reason = "the owner holds a pointer")]
unsafe impl Sync for Memory {}

impl Memory {
    /// `None` where that many cannot be addressed.
    pub(super) fn zeros(length: usize) -> Option<Self> {
        let layout = layout(length)?;
        #[expect(unsafe_code, reason = "memory of this alignment is had in no other way")]
        // SAFETY: the layout is not of zero bytes.
        let start = unsafe { alloc_zeroed(layout) };
        match NonNull::new(start) {
            Some(start) => Some(Self { start, length }),
            None => handle_alloc_error(layout),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The elements; bytes at the end that make no whole one are left out.
    #[expect(unsafe_code, reason = "bytes are seen as numbers")]
    pub(super) fn elements<T: Plain>(&self) -> &[T] {
        let count = self.length / size_of::<T>();
        // SAFETY: that many lie there, aligned, any bytes are a value, and nobody writes while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), count) }
    }

    /// As [`elements`](Self::elements), to be written.
    #[expect(unsafe_code, reason = "bytes are seen as numbers")]
    pub(super) fn elements_mut<T: Plain>(&mut self) -> &mut [T] {
        let count = self.length / size_of::<T>();
        // SAFETY: as above, and `self` is borrowed by nobody else.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), count) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(layout) = layout(self.length) {
            #[expect(unsafe_code, reason = "as it was had, so it is given back")]
            // SAFETY: the memory was had with the same layout and is given back once.
            unsafe {
                dealloc(self.start.as_ptr(), layout);
            }
        }
    }
}

fn layout(length: usize) -> Option<Layout> {
    Layout::from_size_align(length.checked_add(BEYOND)?, ALIGNMENT).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_and_read_where_they_lie() {
        let mut memory = Memory::zeros(10).unwrap();
        assert!(memory.start().addr().is_multiple_of(ALIGNMENT));
        assert_eq!(memory.elements::<f32>(), [0.0, 0.0]);
        memory.elements_mut::<i32>().copy_from_slice(&[1, -1]);
        assert_eq!(memory.elements::<i8>(), [1, 0, 0, 0, -1, -1, -1, -1, 0, 0]);
        assert!(Memory::zeros(0).unwrap().elements::<i64>().is_empty());
        assert!(Memory::zeros(usize::MAX).is_none());
    }
}
