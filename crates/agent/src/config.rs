//! What an operator can set, and where a value came from.
//!
//! Each option is defined once, in [`options`]: its name, type, default and meaning. Flags, environment, files,
//! the printed configuration and the reference page are made from that definition.
//!
//! Sources from weak to strong; a stronger one replaces a weaker one's value:
//!
//! 1. the default;
//! 2. drop-in directories `/usr/lib/saker/saker.conf.d`, `/usr/local/lib/saker/saker.conf.d`;
//! 3. `/etc/saker/saker.yaml`, or the file of `--config`;
//! 4. drop-in directory `/etc/saker/saker.conf.d`;
//! 5. the directory of `--config-dir`;
//! 6. environment `SAKER_<OPTION>`;
//! 7. flags.

mod docs;
pub mod exports;
mod options;
mod peer;
mod settings;
mod sources;
mod value;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub use docs::{print, reference};
pub use options::{Group, Kind, OPTIONS, OptionDef, find};
pub use settings::{
    Address, Ancestors, Color, Console, Cri, EventFields, FileExport, Kernel, LogFormat, Output, Server,
    Settings, SettingsError, TlsFiles,
};
pub use sources::{Places, SourceError};
pub(crate) use sources::{check_directory, check_owner};
pub use value::{ValueError, duration};
pub(crate) use value::{list, switch};

/// Names of options of the peer that do not exist here; they are taken so that the refusal can say why.
pub fn refused_options() -> impl Iterator<Item = &'static str> {
    peer::names()
}

/// Whether the value of an option is for nobody's eyes: passwords, tokens and the like. Paths of files that hold them are
/// none.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    ["password", "token", "secret", "credentials", "headers"]
        .iter()
        .any(|word| name.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with('-')))
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A file of a drop-in directory.
    DropIn(PathBuf),
    /// A line of the YAML file.
    File(PathBuf, usize),
    /// A variable.
    Environment(String),
    /// A flag.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::DropIn(path) => write!(formatter, "{}", path.display()),
            Self::File(path, line) => write!(formatter, "{}:{line}", path.display()),
            Self::Environment(name) => write!(formatter, "environment {name}"),
            Self::Flag => formatter.write_str("flag"),
        }
    }
}

/// The text of a value and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As it was written.
    pub text: String,
    /// Who wrote it.
    pub source: Source,
}

/// The resulting text of every option.
#[derive(Clone, Debug)]
pub struct Config {
    values: BTreeMap<&'static str, Setting>,
    warnings: Vec<String>,
    /// Where it came from.
    places: Places,
    flags: Vec<(String, String)>,
}

/// Everything that is wrong with a configuration, told at once.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// One thing that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A source cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A value cannot be used.
    #[error(transparent)]
    Setting(#[from] SettingsError),
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(formatter, "{one}"),
            many => {
                write!(formatter, "{} problems:", many.len())?;
                many.iter().try_for_each(|error| write!(formatter, "\n  - {error}"))
            }
        }
    }
}

impl Config {
    /// Resolves all sources. `flags` are the options given on the command line, in order.
    ///
    /// # Errors
    /// Everything found wrong with any source: unreadable, unknown names, options that do not exist here.
    pub fn load(places: &Places, flags: &[(String, String)]) -> Result<Self, ConfigErrors> {
        let mut resolver = sources::Resolver::new();
        resolver.run(places, flags);
        let (values, warnings, errors) = resolver.finish();
        if errors.is_empty() {
            Ok(Self { values, warnings, places: places.clone(), flags: flags.to_vec() })
        } else {
            Err(ConfigErrors(errors.into_iter().map(ConfigError::from).collect()))
        }
    }

    /// Resolves the same sources again: files may have changed.
    ///
    /// # Errors
    /// As of [`Config::load`].
    pub fn again(&self) -> Result<Self, ConfigErrors> {
        Self::load(&self.places, &self.flags)
    }

    /// The value of an option of [`OPTIONS`].
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |setting| setting.text.as_str())
    }

    /// The value with its source.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.values.get(name)
    }

    /// What deserves a word in the log once logging works.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Checks all values and gives them types.
    ///
    /// # Errors
    /// Everything found wrong with any value.
    pub fn settings(&self) -> Result<Settings, ConfigErrors> {
        Settings::from_config(self)
            .map_err(|errors| ConfigErrors(errors.into_iter().map(ConfigError::from).collect()))
    }
}

#[cfg(test)]
mod tests;
