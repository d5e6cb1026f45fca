//! The measured programs and their results.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

const BENCH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bench"));
const NOP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nop"));

/// A folder with the programs, gone at the end.
#[derive(Debug)]
pub struct Bench {
    folder: PathBuf,
}

/// What one line of results holds, by name.
pub type Figures = BTreeMap<String, u64>;

impl Bench {
    /// Writes the programs to memory.
    pub fn install() -> Result<Self> {
        let place = ["/dev/shm", "/run", "/tmp"].into_iter().find(|place| Path::new(place).is_dir());
        let folder = Path::new(place.unwrap_or("/tmp")).join(format!("saker-bench-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let bench = Self { folder };
        for (name, bytes) in [("bench", BENCH), ("nop", NOP)] {
            let path = bench.path(name);
            fs::write(&path, bytes)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(bench)
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A new folder inside.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// Runs an operation beside the processes watched.
    pub fn run(&self, watched: &[u32], operation: &[&str]) -> Result<Figures> {
        let mut command = Command::new(self.path("bench"));
        for pid in watched {
            command.args(["-p", &pid.to_string()]);
        }
        let output = command.arg("-e").args(operation).output().context("cannot run bench")?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "bench {operation:?} failed: {message}");
        let text = String::from_utf8_lossy(&output.stdout);
        let pairs = text.split_whitespace().filter_map(|word| word.split_once('='));
        pairs.map(|(name, value)| Ok((name.to_owned(), value.parse()?))).collect()
    }

    /// Begins a flood of system calls, and goes on until it is killed.
    pub fn calls(&self) -> Result<Child> {
        let mut command = Command::new(self.path("bench"));
        command.args(["null", "1000000000000"]).stdout(Stdio::null()).spawn().context("cannot run bench")
    }

    /// fork + exec + wait of the smallest program.
    pub fn exec(&self, watched: &[u32], count: u64) -> Result<Figures> {
        let nop = self.path("nop").to_string_lossy().into_owned();
        self.run(watched, &["exec", &count.to_string(), &nop])
    }

    /// The same with several in flight; `operation` is `burst` or `churn`.
    pub fn flood(&self, watched: &[u32], operation: &str, count: u64) -> Result<Figures> {
        let nop = self.path("nop").to_string_lossy().into_owned();
        self.run(watched, &[operation, &count.to_string(), &nop, "8"])
    }

    /// A compiler on a generated file, again and again.
    pub fn compile(&self, watched: &[u32], count: u64) -> Result<Figures> {
        let (source, object) = (self.path("job.c"), self.path("job.o"));
        if !source.exists() {
            fs::write(&source, generated_source())?;
        }
        let (source, object) = (source.to_string_lossy(), object.to_string_lossy());
        let compiler = ["/usr/bin/gcc", "/usr/bin/cc"].into_iter().find(|path| Path::new(path).exists());
        let compiler = compiler.context("the compile job needs gcc")?;
        self.run(watched, &["exec", &count.to_string(), compiler, "-O1", "-c", "-o", &object, &source])
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}

/// A C file of some hundred functions without includes, so that every machine compiles the same.
fn generated_source() -> String {
    let mut text = String::new();
    for number in 0..120 {
        text.push_str(&format!(
            "int f{number}(int n, const int *v)\n{{\n\tint s = {number};\n\tfor (int i = 0; i < n; i++)\n\t\t\
             s = s * 31 + (v[i] ^ (i << {})) % {};\n\treturn s;\n}}\n",
            number % 7,
            number + 3
        ));
    }
    text
}
