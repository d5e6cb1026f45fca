//! Networks and ports.

use std::fmt;
use std::net::IpAddr;

use crate::diagnostic::Problem;

/// A network: an address with a number of bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// Its address; bits that do not count are zero.
    pub address: IpAddr,
    /// Bits that count, from the left.
    pub prefix: u8,
}

impl Network {
    /// An address, or a network `ADDRESS/BITS`. Bits of the host are allowed and do not count.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = || {
            Problem::hint(format!("`{text}` is not an address or network"), "such as `10.0.0.0/8` or `::1`")
        };
        let trimmed = text.trim();
        let (address, bits) = match trimmed.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (trimmed, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match bits {
            None => width,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|prefix| *prefix <= width).ok_or_else(|| {
                    Problem::new(format!("`{text}`: the number of bits must be 0 to {width}"))
                })?
            }
            Some(_) => return Err(wrong()),
        };
        Ok(Self { address: masked(address, prefix), prefix })
    }

    /// Whether an address is in it. Addresses of the other family are not.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.address.is_ipv4() { 32 } else { 128 };
        if self.prefix == width { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.prefix) }
    }
}

/// A range of ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// Least port.
    pub min: u16,
    /// Greatest port.
    pub max: u16,
}

impl PortRange {
    /// A port or a range `a:b`; the flag tells that it was written backwards.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn parse(text: &str) -> Result<(Self, bool), Problem> {
        let port = |part: &str| {
            let number = super::number(part).ok().and_then(|number| u16::try_from(number).ok());
            number.ok_or_else(|| {
                Problem::hint(format!("`{text}` is not a port or range of ports"), "0 to 65535, or `a:b`")
            })
        };
        let (low, high) = match text.split_once(':') {
            Some((low, high)) => (port(low)?, port(high)?),
            None => (port(text)?, port(text)?),
        };
        Ok((Self { min: low.min(high), max: low.max(high) }, low > high))
    }

    /// Whether it holds a port.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.min..=self.max).contains(&port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { self.min.fmt(f) } else { write!(f, "{} to {}", self.min, self.max) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networks() {
        let network = Network::parse("10.1.2.3/8").unwrap();
        assert_eq!(network.to_string(), "10.0.0.0/8");
        assert!(network.contains("10.255.0.1".parse().unwrap()));
        assert!(!network.contains("11.0.0.1".parse().unwrap()));
        assert!(!network.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("1.2.3.4".parse().unwrap()));
        assert_eq!(Network::parse("::1").unwrap().prefix, 128);
        assert_eq!(Network::parse("fe80::1/64").unwrap().to_string(), "fe80::/64");
        for text in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "::/129", "a/8", "1.2.3.4/"] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ports() {
        assert_eq!(PortRange::parse("53").unwrap().0, PortRange { min: 53, max: 53 });
        assert_eq!(PortRange::parse("10:20").unwrap(), (PortRange { min: 10, max: 20 }, false));
        assert_eq!(PortRange::parse("20:10").unwrap(), (PortRange { min: 10, max: 20 }, true));
        for text in ["65536", "-1", "", "a", "1:", "1:2:3"] {
            assert!(PortRange::parse(text).is_err(), "{text}");
        }
    }

    /// The first bits, one by one.
    fn same_bits(a: u128, b: u128, width: u32, count: u8) -> bool {
        (0..u32::from(count)).all(|bit| a >> (width - 1 - bit) & 1 == b >> (width - 1 - bit) & 1)
    }

    proptest! {
        #[test]
        fn v4_by_bits(net: u32, prefix in 0_u8..=32, flip in 0_u32..32, other: u32, near: bool) {
            let other = if near { net ^ 1 << flip } else { other };
            let network = Network::parse(&format!("{}/{prefix}", std::net::Ipv4Addr::from(net))).unwrap();
            let expected = same_bits(net.into(), other.into(), 32, prefix);
            prop_assert_eq!(network.contains(IpAddr::V4(other.into())), expected);
        }

        #[test]
        fn v6_by_bits(net: u128, prefix in 0_u8..=128, flip in 0_u32..128) {
            let other = net ^ 1 << flip;
            let network = Network::parse(&format!("{}/{prefix}", std::net::Ipv6Addr::from(net))).unwrap();
            prop_assert_eq!(network.contains(IpAddr::V6(other.into())), same_bits(net, other, 128, prefix));
        }
    }
}
