//! Credentials, capabilities and namespaces in JSON.

use super::text::{comma, flag_field, key, number, wrapped_field};
use crate::bits;
use crate::event::{Credentials, Namespace, Namespaces};
use crate::tetragon::{CapabilitiesType, SecureBitsType};

/// The object of `process_credentials`.
pub(super) fn write_process_credentials(creds: &Credentials, out: &mut Vec<u8>) {
    out.push(b'{');
    write_ids(creds, out);
    out.push(b'}');
}

/// The object of `credentials_at_exit`: as above with capability sets and, unless it is the host's, the user
/// namespace.
pub(super) fn write_at_exit(creds: &Credentials, out: &mut Vec<u8>) {
    out.push(b'{');
    write_ids(creds, out);
    key(out, name!("caps"));
    write_capabilities(creds, out);
    write_user_ns(creds, out);
    out.push(b'}');
}

fn write_ids(creds: &Credentials, out: &mut Vec<u8>) {
    wrapped_field(out, name!("uid"), creds.uid);
    wrapped_field(out, name!("gid"), creds.gid);
    wrapped_field(out, name!("euid"), creds.euid);
    wrapped_field(out, name!("egid"), creds.egid);
    wrapped_field(out, name!("suid"), creds.suid);
    wrapped_field(out, name!("sgid"), creds.sgid);
    wrapped_field(out, name!("fsuid"), creds.fsuid);
    wrapped_field(out, name!("fsgid"), creds.fsgid);
    let names = bits::secure_bits(creds.securebits).map(|bit| {
        let known = SecureBitsType::try_from(bit).ok();
        (i64::from(bit), known.map(|bit| bit.as_str_name()))
    });
    write_enums(name!("securebits"), names, out);
}

/// The object of `cap`.
pub(super) fn write_capabilities(creds: &Credentials, out: &mut Vec<u8>) {
    out.push(b'{');
    for (name, set) in [
        (name!("permitted"), creds.cap_permitted),
        (name!("effective"), creds.cap_effective),
        (name!("inheritable"), creds.cap_inheritable),
    ] {
        let names = bits::capabilities(set).map(|capability| {
            let known = CapabilitiesType::try_from(capability).ok();
            (i64::from(capability), known.map(|capability| capability.as_str_name()))
        });
        write_enums(name, names, out);
    }
    out.push(b'}');
}

/// `user_ns`, left out for the host's.
pub(super) fn write_user_ns(creds: &Credentials, out: &mut Vec<u8>) {
    if creds.userns_level != 0 {
        key(out, name!("user_ns"));
        out.push(b'{');
        wrapped_field(out, name!("level"), bits::user_namespace_level(creds).cast_unsigned());
        wrapped_field(out, name!("uid"), creds.userns_uid);
        wrapped_field(out, name!("gid"), creds.userns_gid);
        out.push(b'}');
    }
}

/// A list of enum values: by name, or by number those that a newer kernel may have.
fn write_enums(name: &str, values: impl Iterator<Item = (i64, Option<&'static str>)>, out: &mut Vec<u8>) {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return;
    }
    key(out, name);
    out.push(b'[');
    for (value, known) in values {
        comma(out);
        match known {
            Some(known) => {
                out.push(b'"');
                out.extend_from_slice(known.as_bytes());
                out.push(b'"');
            }
            None => {
                if value < 0 {
                    out.push(b'-');
                }
                number(out, value.unsigned_abs());
            }
        }
    }
    out.push(b']');
}

/// The object of `ns`; namespaces that this kernel does not have are left out.
pub(super) fn write_namespaces(namespaces: &Namespaces, out: &mut Vec<u8>) {
    out.push(b'{');
    for (name, namespace) in bits::namespaces(namespaces) {
        write_namespace(name, namespace, out);
    }
    out.push(b'}');
}

fn write_namespace(name: &str, namespace: Namespace, out: &mut Vec<u8>) {
    if namespace.inum != 0 {
        key(out, name);
        out.push(b'{');
        wrapped_field(out, name!("inum"), namespace.inum);
        flag_field(out, name!("is_host"), namespace.is_host);
        out.push(b'}');
    }
}
