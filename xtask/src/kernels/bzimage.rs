//! Takes the plain ELF kernel out of a bzImage. Booted directly (PVH entry), it spares an emulated
//! machine the decompression, and its `.BTF` section can be read.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{self, command};

/// Offsets of the boot protocol's header fields (Documentation/arch/x86/boot.rst).
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// Unpacks `image` into the ELF file `vmlinux`; `scratch` is a file name to use in between.
pub(crate) fn extract(image: &Path, vmlinux: &Path, scratch: &Path) -> Result<()> {
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let payload = payload(&bytes).with_context(|| format!("{} is no kernel image", image.display()))?;
    let (program, arguments) = decompressor(payload).with_context(|| image.display().to_string())?;
    fs::write(scratch, payload).with_context(|| format!("cannot write {}", scratch.display()))?;
    let out = File::create(vmlinux).with_context(|| format!("cannot create {}", vmlinux.display()))?;
    let packed = File::open(scratch).with_context(|| format!("cannot open {}", scratch.display()))?;
    process::filter(command(program).args(arguments), packed, out)?;
    fs::remove_file(scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    let head = fs::read(vmlinux).with_context(|| format!("cannot read {}", vmlinux.display()))?;
    ensure!(head.starts_with(b"\x7fELF"), "{} does not hold an ELF kernel", image.display());
    Ok(())
}

/// The compressed kernel inside a bzImage.
fn payload(image: &[u8]) -> Result<&[u8]> {
    ensure!(image.get(MAGIC..MAGIC + 4) == Some(b"HdrS"), "the boot header's signature is missing");
    let sectors = usize::from(image[SETUP_SECTORS]);
    let start = (sectors + 1) * 512 + number(image, PAYLOAD_OFFSET)?;
    // The last four bytes are the unpacked length, not part of the stream.
    let length = number(image, PAYLOAD_LENGTH)?.saturating_sub(4);
    image.get(start..start.saturating_add(length)).context("the payload reaches past the end of the file")
}

fn number(image: &[u8], at: usize) -> Result<usize> {
    let bytes = image.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let bytes = bytes.context("the boot header is cut short")?;
    usize::try_from(u32::from_le_bytes(bytes)).context("a number of the boot header is too large")
}

fn decompressor(payload: &[u8]) -> Result<(&'static str, &'static [&'static str])> {
    match payload {
        [0xfd, b'7', b'z', b'X', ..] => Ok(("xz", &["-dc"])),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(("zstd", &["-qdc"])),
        [0x1f, 0x8b, ..] => Ok(("gzip", &["-dc"])),
        [0x02, 0x21, 0x4c, 0x18, ..] => Ok(("lz4", &["-qdc"])),
        _ => bail!("the kernel is compressed in an unknown way"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[SETUP_SECTORS] = 1;
        bytes[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        bytes[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&16u32.to_le_bytes());
        let length = u32::try_from(payload.len() + 4).unwrap();
        bytes[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(payload);
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn finds_the_payload() {
        assert_eq!(payload(&image(b"\x1f\x8bpacked")).unwrap(), b"\x1f\x8bpacked");
    }

    #[test]
    fn refuses_what_is_no_kernel() {
        assert!(payload(b"too short").is_err());
        assert!(payload(&[0; 4096]).is_err());
        let cut = &image(b"packed")[..1040];
        assert!(payload(cut).unwrap_err().to_string().contains("past the end"));
        assert!(decompressor(b"????").is_err());
    }
}
