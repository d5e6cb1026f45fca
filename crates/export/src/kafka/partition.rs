//! Which partition an event goes to.

/// The place of the partition for a key among so many, as Kafka's own clients choose it: events of one key stay together,
/// whoever sends them.
pub(super) fn of(key: &[u8], partitions: usize) -> usize {
    let positive = murmur2(key) & 0x7fff_ffff;
    positive as usize % partitions.max(1)
}

/// MurmurHash2 with the seed that Kafka takes.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const FACTOR: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        word ^= word >> 24;
        hash = hash.wrapping_mul(FACTOR) ^ word.wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(FACTOR);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(FACTOR);
    hash ^ (hash >> 15)
}

/// The first exec id of a JSON line, which is that of the process the event is about. Within a text the quotes would be
/// escaped, so that nothing a process says is taken for it.
pub(super) fn exec_id(line: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b"\"exec_id\":\"";
    let begin = line.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let rest = line.get(begin..)?;
    let length = rest.iter().position(|&byte| byte == b'"')?;
    rest.get(..length).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Kafka's own tests of its hash.
    #[test]
    fn keys_hash_as_at_kafka() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert_eq!(of(b"abc", 0), 0);
        assert!((0..100_u8).all(|byte| of(&[byte], 7) < 7));
    }

    #[test]
    fn the_process_of_an_event_is_its_key() {
        let line = br#"{"process_exec":{"process":{"exec_id":"bjE6MTox","pid":1},"parent":{"exec_id":"x"}}}"#;
        assert_eq!(exec_id(line), Some(&b"bjE6MTox"[..]));
        let said = br#"{"process_exec":{"process":{"arguments":"\"exec_id\":\"fake\""}}}"#;
        assert_eq!(exec_id(said), None);
        assert_eq!(exec_id(br#"{"exec_id":""}"#), None);
        assert_eq!(exec_id(br#"{"exec_id":"cut"#), None);
    }
}
