//! What libbpf says while it loads objects.

use std::ffi::{c_char, c_int, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};

use libbpf_rs::{PrintLevel, libbpf_sys};

/// What libbpf prints while objects are loaded, kept for the error message.
pub(crate) struct LibraryLog;

static LOG: Mutex<String> = Mutex::new(String::new());

impl LibraryLog {
    /// Bytes of the library's output that are kept: the verifier says at the end what it minds.
    const TAIL: usize = 4096;

    pub(crate) fn capture() -> Self {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).clear();
        libbpf_rs::set_print(Some((PrintLevel::Warn, |_, text| {
            let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&text);
            if log.len() > 4 * Self::TAIL {
                let cut = log.len() - Self::TAIL;
                let cut = (cut..log.len()).find(|i| log.is_char_boundary(*i)).unwrap_or(0);
                log.drain(..cut);
            }
        })));
        leave_out_debug();
        Self
    }

    pub(crate) fn tail(&self) -> String {
        let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        if log.is_empty() {
            return String::new();
        }
        let cut = log.len().saturating_sub(Self::TAIL);
        let cut = (cut..log.len()).find(|i| log.is_char_boundary(*i)).unwrap_or(0);
        format!("\n{}", log[cut..].trim_end())
    }
}

impl Drop for LibraryLog {
    fn drop(&mut self) {
        libbpf_rs::set_print(None);
    }
}

/// How libbpf calls whoever prints for it. The last is a list of further arguments, which each platform has another type
/// for; it is always passed by its address.
type Print = unsafe extern "C" fn(libbpf_sys::libbpf_print_level, *const c_char, *mut c_void) -> c_int;

/// Prints what is no debug message.
static PRINT: OnceLock<Print> = OnceLock::new();

/// Has debug messages, of which there are tens of thousands for an object, end here: what libbpf-rs does with each, to leave
/// it out too, took 2.7 million instructions for a hook.
fn leave_out_debug() {
    // SAFETY: libbpf exchanges the function atomically; it returns the one that libbpf-rs has just set, or null.
    let earlier = unsafe { libbpf_sys::libbpf_set_print(None) };
    // SAFETY: both types are a function of two arguments of the same types and the address of a list of arguments, or null.
    let earlier = unsafe { std::mem::transmute::<libbpf_sys::libbpf_print_fn_t, Option<Print>>(earlier) };
    let Some(earlier) = earlier else { return };
    // The same each time.
    PRINT.get_or_init(|| earlier);
    // SAFETY: as above, in the other direction.
    let own = unsafe { std::mem::transmute::<Option<Print>, libbpf_sys::libbpf_print_fn_t>(Some(print)) };
    // SAFETY: the function lives as long as the program.
    unsafe { libbpf_sys::libbpf_set_print(own) };
}

/// Called by libbpf for each of its messages.
unsafe extern "C" fn print(
    level: libbpf_sys::libbpf_print_level,
    format: *const c_char,
    arguments: *mut c_void,
) -> c_int {
    if level == libbpf_sys::LIBBPF_DEBUG {
        return 0;
    }
    // SAFETY: what libbpf has passed, for the time of this call.
    PRINT.get().map_or(0, |print| unsafe { print(level, format, arguments) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_kept() {
        let log = LibraryLog::capture();
        assert_eq!(log.tail(), "");
        // What is no object.
        assert!(libbpf_rs::ObjectBuilder::default().open_memory(&[0; 64]).is_err());
        assert!(log.tail().contains("libbpf"), "{}", log.tail());
    }
}
