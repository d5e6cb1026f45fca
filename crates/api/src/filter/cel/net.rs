//! Addresses and networks, as the libraries of Kubernetes for expressions have them.

use std::net::IpAddr;

/// A network, as it was written: the address may have bits beyond the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

/// An address; neither with a zone nor one of version 4 written as one of version 6.
pub(super) fn parse_ip(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => None,
        _ => Some(address),
    }
}

/// `ADDRESS/BITS`.
pub(super) fn parse_cidr(text: &str) -> Option<Cidr> {
    let (address, prefix) = text.split_once('/')?;
    let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    // No leading zero, which some read as octal.
    let plain = prefix == "0" || !prefix.starts_with('0');
    let address = parse_ip(address)?;
    let prefix: u8 = (digits && plain).then(|| prefix.parse().ok()).flatten()?;
    (prefix <= width(address)).then_some(Cidr { address, prefix })
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The bits of an address on the left.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl Cidr {
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && (bits(self.address) ^ bits(address)) & mask(self.prefix) == 0
    }

    pub(super) fn contains_network(&self, other: Self) -> bool {
        other.prefix >= self.prefix && self.contains(other.address)
    }

    /// Without bits beyond the prefix.
    pub(super) fn masked(self) -> Self {
        let kept = bits(self.address) & mask(self.prefix);
        let address = match self.address {
            IpAddr::V4(_) => IpAddr::V4(((kept >> 96) as u32).into()),
            IpAddr::V6(_) => IpAddr::V6(kept.into()),
        };
        Self { address, ..self }
    }

    pub(super) fn text(self) -> String {
        format!("{}/{}", self.address, self.prefix)
    }
}

/// Neither unspecified, loopback, multicast, link-local nor broadcast; private ones are.
pub(super) fn is_global_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(broadcast
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || is_link_local_unicast(address))
}

pub(super) fn is_link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

pub(super) fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] == 0xff02,
    }
}
