//! The definitions of messages at run time, for what has to look at fields by name.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, EnumDescriptor, MessageDescriptor, ReflectMessage};

use crate::FILE_DESCRIPTOR_SET;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "written by the build of this crate; every test of it would fail")]
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the embedded descriptors are well-formed")
});

/// The enum of this full name.
pub(crate) fn enum_by_name(name: &str) -> Option<EnumDescriptor> {
    POOL.get_enum_by_name(name)
}

/// A message that is looked at by the names of its fields.
pub(crate) trait Described: prost::Message + Default {
    /// Its full name.
    const NAME: &'static str;

    /// Its definition.
    fn descriptor() -> MessageDescriptor {
        #[expect(clippy::expect_used, reason = "names are checked by a test")]
        POOL.get_message_by_name(Self::NAME).expect("a message of the embedded descriptors")
    }

    /// The same message with its fields by name.
    fn to_dynamic(&self) -> DynamicMessage {
        let mut dynamic = DynamicMessage::new(Self::descriptor());
        #[expect(clippy::expect_used, reason = "both are made from one definition")]
        dynamic.transcode_from(self).expect("the type and the descriptor agree");
        dynamic
    }

    /// Bytes of such a message with its fields by name; bytes of another one: empty.
    fn decode_dynamic(bytes: bytes::Bytes) -> DynamicMessage {
        let descriptor = Self::descriptor();
        DynamicMessage::decode(descriptor.clone(), bytes).unwrap_or_else(|_| DynamicMessage::new(descriptor))
    }

    /// Back from fields by name; `None` when that is another message.
    fn from_dynamic(dynamic: &DynamicMessage) -> Option<Self> {
        (dynamic.descriptor().full_name() == Self::NAME).then(|| dynamic.transcode_to().ok())?
    }
}

macro_rules! described {
    ($($message:ty = $name:literal),+ $(,)?) => {
        $(impl Described for $message {
            const NAME: &'static str = $name;
        })+

        #[cfg(test)]
        #[test]
        fn every_described_message_is_defined() {
            $(assert_eq!(<$message>::default().to_dynamic().descriptor().full_name(), $name);)+
        }
    };
}

described! {
    crate::saker_v1::ArgumentExtra = "saker.v1.ArgumentExtra",
    crate::saker_v1::Enforcement = "saker.v1.Enforcement",
    crate::saker_v1::Event = "saker.v1.Event",
    crate::saker_v1::ExitExtra = "saker.v1.ExitExtra",
    crate::saker_v1::Gap = "saker.v1.Gap",
    crate::saker_v1::GetStatusResponse = "saker.v1.GetStatusResponse",
    crate::saker_v1::HookExtra = "saker.v1.HookExtra",
    crate::saker_v1::ProcessExtra = "saker.v1.ProcessExtra",
    crate::saker_v1::TryPolicyResponse = "saker.v1.TryPolicyResponse",
    crate::tetragon::Filter = "tetragon.Filter",
    crate::tetragon::RedactionFilter = "tetragon.RedactionFilter",
    crate::tetragon::KprobeArgument = "tetragon.KprobeArgument",
    crate::tetragon::GetEventsResponse = "tetragon.GetEventsResponse",
    crate::tetragon::ListTracingPoliciesResponse = "tetragon.ListTracingPoliciesResponse",
}
