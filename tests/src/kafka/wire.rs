//! Fields of Kafka's protocol.

use anyhow::{Context, Result};

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(length).context("a message that is too short")?;
        self.0 = left;
        Ok(taken)
    }

    pub(super) fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    /// A text; one that is not there is empty.
    pub(super) fn string(&mut self) -> Result<String> {
        let length = self.i16()?.max(0);
        Ok(std::str::from_utf8(self.take(usize::try_from(length)?)?)?.to_owned())
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.i32()?.max(0);
        self.take(usize::try_from(length)?)
    }
}

/// Appends fields to a message.
pub(super) mod put {
    use anyhow::Result;

    pub(in crate::kafka) fn count(count: usize, message: &mut Vec<u8>) -> Result<()> {
        message.extend(i32::try_from(count)?.to_be_bytes());
        Ok(())
    }

    pub(in crate::kafka) fn string(text: &str, message: &mut Vec<u8>) -> Result<()> {
        message.extend(i16::try_from(text.len())?.to_be_bytes());
        message.extend(text.as_bytes());
        Ok(())
    }

    pub(in crate::kafka) fn bytes(bytes: &[u8], message: &mut Vec<u8>) -> Result<()> {
        count(bytes.len(), message)?;
        message.extend(bytes);
        Ok(())
    }
}
