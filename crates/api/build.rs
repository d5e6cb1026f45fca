//! Compiles the protobuf definitions in `proto/` into Rust.
//!
//! Clients send and receive the message types themselves. Servers stream events whose bytes were encoded
//! once for all clients, so in server code the item type of the event streams is `wire::EncodedEvent`.

use std::path::{Path, PathBuf};
use std::process::Command;

use prost_build::{Config, Service, ServiceGenerator};

const PROTOS: &[&str] = &[
    "tetragon/bpf.proto",
    "tetragon/capabilities.proto",
    "tetragon/tetragon.proto",
    "tetragon/events.proto",
    "tetragon/sensors.proto",
    "tetragon/eventlogservice.proto",
    "saker/v1/saker.proto",
];

/// Methods that stream events: fully qualified output types and what stands for them in server code.
const EVENT_STREAMS: &[&str] = &[".tetragon.GetEventsResponse", ".saker.v1.Event"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    require_protoc()?;
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", root.display());
    let files: Vec<PathBuf> = PROTOS.iter().map(|name| root.join(name)).collect();

    Config::new()
        .btree_map(["."])
        .bytes(["."])
        .file_descriptor_set_path(out.join("descriptors.bin"))
        .service_generator(Box::new(ClientAndServer::new()))
        .compile_protos(&files, &[root.as_path() as &Path])?;
    Ok(())
}

/// Says what to install when the compiler is missing, instead of leaving it to a deep error.
fn require_protoc() -> Result<(), String> {
    println!("cargo:rerun-if-env-changed=PROTOC");
    let protoc = std::env::var_os("PROTOC").unwrap_or_else(|| "protoc".into());
    match Command::new(&protoc).arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{} --version failed: {}",
            protoc.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!(
            "the protobuf compiler {} cannot be run ({error}); run `scripts/install-deps run`, or install \
             the packages protobuf-compiler and libprotobuf-dev, or set PROTOC to its path",
            protoc.display()
        )),
    }
}

/// Generates clients with plain types and servers with shared encoded events.
struct ClientAndServer {
    client: Box<dyn ServiceGenerator>,
    server: Box<dyn ServiceGenerator>,
}

impl ClientAndServer {
    fn new() -> Self {
        Self {
            client: tonic_prost_build::configure()
                .build_server(false)
                .build_transport(false)
                .service_generator(),
            server: tonic_prost_build::configure()
                .build_client(false)
                .build_transport(false)
                // What an agent does not serve yet answers `unimplemented`.
                .generate_default_stubs(true)
                .codec_path("crate::wire::ServerCodec")
                .service_generator(),
        }
    }
}

impl ServiceGenerator for ClientAndServer {
    fn generate(&mut self, service: Service, buf: &mut String) {
        let mut served = service.clone();
        for method in &mut served.methods {
            if method.server_streaming && EVENT_STREAMS.contains(&method.output_proto_type.as_str()) {
                method.output_type = "crate::wire::EncodedEvent".to_owned();
            }
        }
        self.client.generate(service, buf);
        self.server.generate(served, buf);
    }

    fn finalize(&mut self, buf: &mut String) {
        self.client.finalize(buf);
        self.server.finalize(buf);
    }
}
