//! Servers and clients in processes of their own, so that their work is not the agent's nor the measurement's.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Buf;
use prost::Message;
use saker_tests::peer::{self, proto};
use saker_tests::receiver::{Receiver, Speech};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status};

const GET_EVENTS: &str = "/tetragon.FineGuidanceSensors/GetEvents";

/// Arguments of `receiver`.
#[derive(clap::Args)]
pub struct ServerArgs {
    /// Whether it is spoken to by gRPC, else by HTTP/1.1
    #[arg(long)]
    grpc: bool,
}

/// Arguments of `clients`.
#[derive(clap::Args)]
pub struct ClientArgs {
    /// The agent's socket, as `unix:///PATH`
    address: String,
    /// How many
    count: usize,
    /// Paths of fields that they want and no others
    #[arg(long)]
    include: Option<String>,
    /// Paths of fields that they do not want
    #[arg(long)]
    exclude: Option<String>,
}

/// A process of this program. It ends with the one that started it.
#[derive(Debug)]
pub struct Beside {
    child: Child,
    /// The line that it says when it is ready.
    pub said: String,
}

impl Beside {
    /// Starts it with these arguments, and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run this program again")?;
        let output = child.stdout.take().context("no output")?;
        let mut beside = Self { child, said: String::new() };
        BufReader::new(output).read_line(&mut beside.said)?;
        beside.said.truncate(beside.said.trim_end().len());
        ensure!(!beside.said.is_empty(), "`{}` ended before it was ready", arguments.join(" "));
        Ok(beside)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Fails when it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says that it is ready, and waits until whoever started this process ends or no longer wants it.
fn wait(said: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{said}")?;
    output.flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Receives requests, answers all of them, and keeps none.
pub fn serve(args: &ServerArgs) -> Result<()> {
    let receiver = Receiver::start(if args.grpc { Speech::Grpc } else { Speech::Http }, None)?;
    let port = receiver.port.to_string();
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(10));
            drop(receiver.take());
        }
    });
    wait(&port)
}

/// Asks the agent for events, over a connection for each client, and counts their bytes at most.
pub fn follow(args: &ClientArgs) -> Result<()> {
    let masks = [
        (&args.include, proto::FieldFilterAction::Include),
        (&args.exclude, proto::FieldFilterAction::Exclude),
    ];
    let masks = masks.into_iter().filter_map(|(fields, action)| {
        let paths = fields.as_ref()?.split(',').map(str::to_owned).collect();
        let fields = Some(prost_types::FieldMask { paths });
        Some(proto::FieldFilter { fields, action: action.into(), ..proto::FieldFilter::default() })
    });
    let request =
        proto::GetEventsRequest { field_filters: masks.collect(), ..proto::GetEventsRequest::default() };
    let request = request.encode_to_vec();
    let runtime = peer::runtime()?;
    runtime.block_on(async {
        for _ in 0..args.count {
            let mut client = tonic::client::Grpc::new(peer::connect(&args.address).await?);
            client.ready().await?;
            let path = PathAndQuery::from_static(GET_EVENTS);
            let answer = client.server_streaming(Request::new(request.clone()), path, Bytes).await?;
            let mut stream = answer.into_inner();
            tokio::spawn(async move { while matches!(stream.message().await, Ok(Some(()))) {} });
        }
        anyhow::Ok(())
    })?;
    wait("ready")
}

/// Sends bytes that are encoded already, and does not look at those that it receives: what clients make of events
/// would take the processors from the agent.
#[derive(Clone, Copy, Debug)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}
