//! Panics of a library, made into errors of one line.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::line::one_line;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` and makes its panic an error. Where the program is built to abort on a panic, it aborts.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    quiet_hook();
    let outer = GUARDED.replace(true);
    // What `work` left half-done is dropped with the model or refused by the next run.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.unwrap_or_else(|payload| Err(one_line(&format!("it panicked: {}", message(&*payload)))))
}

/// Keeps the panics that [`guarded`] reports off standard error. Says all where panics abort, since nothing
/// else would then tell why.
fn quiet_hook() {
    static INSTALLED: Once = Once::new();
    if cfg!(panic = "unwind") {
        INSTALLED.call_once(|| {
            let outer = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !GUARDED.get() {
                    outer(info);
                }
            }));
        });
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_next_call_works() {
        let error = guarded::<()>(|| panic!("index {} out\nof bounds", 3));
        assert_eq!(error, Err("it panicked: index 3 out of bounds".to_owned()));
        assert_eq!(guarded(|| Ok(1)), Ok(1));
        assert!(!GUARDED.get());
    }
}
