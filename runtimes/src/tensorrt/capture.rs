//! What a program prints, of which no more is kept than it takes to say who it is and why it failed: a log may be long, and
//! memory is what a device has least of.

use std::io::{self, Read};

/// Bytes that are kept from the beginning on, where a program tells its version and the GPU.
const HEAD: usize = 64 << 10;
/// Bytes that are kept of the end, where it tells why it ended.
const TAIL: usize = 64 << 10;

/// Reads to the end, so that the program never waits for its reader. The middle of a long text is left out, which
/// stands in its place.
pub(super) fn head_and_tail(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.by_ref().take(HEAD as u64).read_to_end(&mut text)?;
    let (mut tail, mut left_out) = (Vec::new(), 0);
    while from.by_ref().take(TAIL as u64).read_to_end(&mut tail)? > 0 {
        let over = tail.len().saturating_sub(TAIL);
        tail.drain(..over);
        left_out += over;
    }
    if left_out > 0 {
        text.extend(format!("\n({left_out} bytes are left out)\n").into_bytes());
    }
    text.extend(tail);
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_kept_whole() {
        for length in [0, 10, HEAD, HEAD + 1, HEAD + TAIL] {
            let text: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            assert_eq!(head_and_tail(text.as_slice()).unwrap(), text, "{length}");
        }
    }

    #[test]
    fn of_what_is_long_the_ends_are_kept() {
        let endless = io::repeat(b'.').take(50 << 20);
        let text = head_and_tail(b"version\n".chain(endless).chain(&b"\nreason"[..])).unwrap();
        assert!(text.len() < HEAD + TAIL + 100, "{}", text.len());
        assert!(text.starts_with(b"version\n") && text.ends_with(b"\nreason"));
        let left_out = (50 << 20) + 15 - HEAD - TAIL;
        let told = format!("\n({left_out} bytes are left out)\n");
        assert!(text.windows(told.len()).any(|part| part == told.as_bytes()));
    }
}
