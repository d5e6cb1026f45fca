//! Any bytes are the state or the specification of a container, or an error; what is read of them is bounded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use saker_k8s::oci::{ANNOTATIONS_MAX, Spec, State, unified_group};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(state) = State::parse(bytes) {
        assert!(state.bundle.is_absolute() && !state.id.is_empty() && state.pid != Some(0));
    }
    let keys = ["namespace".to_owned()];
    if let Ok(spec) = Spec::parse(bytes, &keys) {
        assert!(spec.annotations.len() <= ANNOTATIONS_MAX);
        assert!(spec.annotations.values().all(|value| value.len() <= 4096));
        assert!(spec.cgroups_path.as_ref().is_none_or(|path| !path.is_empty() && !path.contains('\0')));
        let _ = (spec.namespace(&keys), spec.pod(), spec.root_in("/bundle".as_ref()));
    }
    let _ = unified_group(&String::from_utf8_lossy(bytes));
});
