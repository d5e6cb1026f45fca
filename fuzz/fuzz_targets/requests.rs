//! Any bytes as requests of clients: a request for events becomes filters or a refusal, and so does the text of filters; what is
//! a request is the same one after it was written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use saker_api::filter::{Filters, Offered, Subscription, parse_filters};
use saker_api::{saker_v1, tetragon};

/// That a message is read as it was written.
fn round<T: Message + Default + PartialEq>(bytes: &[u8]) {
    if let Ok(message) = T::decode(bytes) {
        assert!(T::decode(message.encode_to_vec().as_slice()).is_ok_and(|again| again == message));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let offered = Offered::everything();
    if let Ok(request) = tetragon::GetEventsRequest::decode(bytes) {
        let _ = Subscription::compile(&request, &offered);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(list) = parse_filters(text)
    {
        let _ = Filters::compile(&list, &list, &offered);
    }
    round::<tetragon::RuntimeHookRequest>(bytes);
    round::<tetragon::SetEventLogParamsRequest>(bytes);
    round::<tetragon::GetDebugRequest>(bytes);
    round::<tetragon::ConfigureTracingPolicyRequest>(bytes);
    round::<saker_v1::ReplacePolicyRequest>(bytes);
});
