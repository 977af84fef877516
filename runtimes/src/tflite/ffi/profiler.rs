//! LiteRT's profiler, which a compiled model has where its options ask for one.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::time::Duration;

use super::super::profile::Event;
use super::{Buffer, Compiled, Raw, checked};

/// `ProfiledEventData`, as the library fills it. The header's part for C leaves one of the three numbers of each
/// `MemoryUsage` out.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct RawEvent {
    tag: *const c_char,
    kind: c_int,
    /// Microseconds.
    start: u64,
    /// Microseconds.
    elapsed: u64,
    memory: [[i64; 3]; 2],
    metadata: [u64; 2],
    source: c_int,
}

// There is no library for processors of 32 bits, for which the agent is compiled all the same.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<RawEvent>() == 104, "as the library of 2.3 steps");

/// `ProfiledEventSource` has so many values.
const SOURCES: c_int = 3;

impl Compiled {
    /// One inference, and what was timed of it.
    pub(in super::super) fn run_timed(
        &mut self,
        inputs: &[Buffer],
        outputs: &mut [Buffer],
    ) -> Result<Vec<Event>, String> {
        let profiler = self.profiler()?;
        self.start(profiler)?;
        self.run(inputs, outputs)?;
        self.events(profiler)
    }

    #[expect(unsafe_code, reason = "a C library is called")]
    fn profiler(&self) -> Result<Raw, String> {
        let mut profiler = ptr::null_mut();
        // SAFETY: the handle is alive and the result outlives the call; the model owns what it is.
        let status = unsafe { (self.api.functions.profiler)(self.raw, &raw mut profiler) };
        checked(status, "give its profiler")?;
        if profiler.is_null() {
            return Err("LiteRT made no profiler".to_owned());
        }
        Ok(profiler)
    }

    /// Forgets what was timed before.
    #[expect(unsafe_code, reason = "a C library is called")]
    fn start(&self, profiler: Raw) -> Result<(), String> {
        // SAFETY: the profiler is alive as long as the model.
        let status = unsafe { (self.api.functions.reset_profiler)(profiler) };
        checked(status, "reset its profiler")?;
        // SAFETY: as above.
        let status = unsafe { (self.api.functions.start_profiler)(profiler) };
        checked(status, "start its profiler")
    }

    #[expect(unsafe_code, reason = "a C library is called")]
    fn events(&self, profiler: Raw) -> Result<Vec<Event>, String> {
        let functions = &self.api.functions;
        let mut count = 0;
        // SAFETY: the profiler is alive as long as the model, and the result outlives the call.
        let status = unsafe { (functions.count_events)(profiler, &raw mut count) };
        checked(status, "count what it timed")?;
        let none = RawEvent {
            tag: ptr::null(),
            kind: 0,
            start: 0,
            elapsed: 0,
            memory: [[0; 3]; 2],
            metadata: [0; 2],
            source: 0,
        };
        let told_of = usize::try_from(count).unwrap_or(0);
        if told_of == 0 {
            return Ok(Vec::new());
        }
        // With room for events twice as large, so that those of another version are refused and not written past the end.
        let mut events = vec![none; 2 * told_of];
        // SAFETY: as above; the events are as many as is said.
        let status = unsafe { (functions.events)(profiler, count, events.as_mut_ptr()) };
        checked(status, "tell what it timed")?;
        events.truncate(told_of);
        let is_event =
            |event: &RawEvent| event.kind.count_ones() == 1 && (0..SOURCES).contains(&event.source);
        if !events.iter().all(is_event) {
            return Err("LiteRT tells what it timed in a form of another version than 2.3".to_owned());
        }
        Ok(events.iter().map(told).collect())
    }
}

#[expect(unsafe_code, reason = "a text of a C library is read")]
fn told(event: &RawEvent) -> Event {
    let operator = if event.tag.is_null() {
        String::new()
    } else {
        // SAFETY: the profiler owns the text, which ends in a zero, until it is reset.
        let tag = unsafe { CStr::from_ptr(event.tag) };
        tag.to_string_lossy().into_owned()
    };
    Event {
        kind: event.kind,
        operator,
        time: Duration::from_micros(event.elapsed),
    }
}
