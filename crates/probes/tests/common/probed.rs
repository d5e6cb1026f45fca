//! The program of `probed.c`, compiled.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The compiled program, for all tests of this process.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("saker-programs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("probed");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/probed.c");
        let built =
            Command::new("cc").args(["-O1", "-Wall", "-Werror", "-o"]).arg(&path).arg(source).status();
        assert!(built.unwrap().success(), "the program does not compile");
        path
    })
}
