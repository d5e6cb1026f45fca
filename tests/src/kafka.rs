//! What stands before the brokers of tests, which know neither TLS nor logins: it takes connections over TLS, has each log in by
//! SASL, and passes requests on. The brokers seem to be where it is.

mod login;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::peer;
use login::{Login, Step};
use wire::{Fields, put};

/// Numbers of the requests of Kafka's protocol that are not only passed on.
const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;
/// Numbers of its errors.
const MESSAGE_TOO_LARGE: i16 = 10;
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
const UNSUPPORTED_VERSION: i16 = 35;
const SASL_AUTHENTICATION_FAILED: i16 = 58;
/// Longest request or answer.
const FRAME_MAX: usize = 32 << 20;

/// What it asks of those who connect.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Name of the only user.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Bytes of the records of a request, at most.
    pub largest: usize,
}

/// It, as long as it lives.
#[derive(Debug)]
pub struct Front {
    /// Where it is, once for each broker.
    pub brokers: Vec<String>,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

/// Where a broker is, and the port at which it seems to be.
#[derive(Clone, Debug)]
struct Place {
    host: String,
    port: u16,
    seeming: u16,
}

#[derive(Debug)]
struct Shared {
    rules: Rules,
    places: Vec<Place>,
    seen: Mutex<Seen>,
}

/// What it has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Logins that succeeded, by their mechanisms.
    pub accepted: Vec<&'static str>,
    /// And those that did not.
    pub refused: Vec<&'static str>,
    /// Requests that were too long.
    pub too_long: u64,
}

impl Front {
    /// Begins before these brokers, each `HOST:PORT`.
    ///
    /// # Errors
    /// When there is no port for it.
    pub fn start(brokers: &str, config: ServerConfig, rules: Rules) -> Result<Self> {
        let runtime = peer::runtime()?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (mut places, mut listeners) = (Vec::new(), Vec::new());
        for broker in brokers.split(',') {
            let (host, port) = broker.rsplit_once(':').context("a broker without port")?;
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
            let seeming = listener.local_addr()?.port();
            places.push(Place { host: host.to_owned(), port: port.parse()?, seeming });
            listeners.push(listener);
        }
        let brokers = places.iter().map(|place| format!("127.0.0.1:{}", place.seeming)).collect();
        let shared = Arc::new(Shared { rules, places: places.clone(), seen: Mutex::default() });
        for (place, listener) in places.into_iter().zip(listeners) {
            let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
            runtime.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (shared, acceptor, place) = (Arc::clone(&shared), acceptor.clone(), place.clone());
                    // Ends with the connection, or with what is wrong with it: then the client sees it end.
                    tokio::spawn(async move { serve(acceptor.accept(stream).await?, &place, &shared).await });
                }
            });
        }
        Ok(Self { brokers, shared, _runtime: runtime })
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.shared.seen().clone()
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    place: &Place,
    shared: &Shared,
) -> Result<()> {
    let mut broker = TcpStream::connect((place.host.as_str(), place.port)).await?;
    let mut login: Option<Login> = None;
    let mut is_known = false;
    loop {
        let request = read_frame(&mut client).await?;
        let mut fields = Fields(&request);
        let (kind, version, id) = (fields.i16()?, fields.i16()?, fields.i32()?);
        let _client = fields.string()?;
        let mut answer = id.to_be_bytes().to_vec();
        match kind {
            API_VERSIONS if version > 0 => answer.extend(UNSUPPORTED_VERSION.to_be_bytes()),
            API_VERSIONS => answer = with_logins(&pass(&mut broker, &request).await?)?,
            SASL_HANDSHAKE => {
                login = Login::begin(&fields.string()?, &shared.rules);
                let error = if login.is_some() { 0 } else { UNSUPPORTED_SASL_MECHANISM };
                answer.extend(error.to_be_bytes());
                put::count(login::MECHANISMS.len(), &mut answer)?;
                for name in login::MECHANISMS {
                    put::string(name, &mut answer)?;
                }
            }
            SASL_AUTHENTICATE => {
                let login = login.as_mut().context("a login without a handshake")?;
                match login.step(fields.bytes()?) {
                    Ok(Step { answer: text, is_done }) => {
                        answer.extend([0, 0, 0xff, 0xff]);
                        put::bytes(text.as_bytes(), &mut answer)?;
                        if is_done {
                            is_known = true;
                            shared.seen().accepted.push(login.mechanism());
                        }
                    }
                    Err(_) => {
                        shared.seen().refused.push(login.mechanism());
                        answer.extend(SASL_AUTHENTICATION_FAILED.to_be_bytes());
                        put::string("Authentication failed", &mut answer)?;
                        put::bytes(&[], &mut answer)?;
                    }
                }
            }
            _ if !is_known => bail!("a request of kind {kind} before the login"),
            PRODUCE => match too_long(fields, shared.rules.largest)? {
                Some(refusal) => {
                    shared.seen().too_long += 1;
                    answer.extend(refusal);
                }
                None => answer = pass(&mut broker, &request).await?,
            },
            METADATA => {
                answer = pass(&mut broker, &request).await?;
                shared.places.iter().for_each(|place| place.seem(&mut answer));
            }
            _ => answer = pass(&mut broker, &request).await?,
        }
        write_frame(&mut client, &answer).await?;
    }
}

impl Place {
    /// Has an answer name the port at which the broker seems to be, which stands behind its host.
    fn seem(&self, answer: &mut [u8]) {
        let with = |port: u16| [self.host.as_bytes(), &u32::from(port).to_be_bytes()].concat();
        let (is, seems) = (with(self.port), with(self.seeming));
        let mut from = 0;
        while let Some(at) = answer[from..].windows(is.len()).position(|part| part == is) {
            answer[from + at..from + at + is.len()].copy_from_slice(&seems);
            from += at + is.len();
        }
    }
}

/// The versions that a broker knows, and those of logins.
fn with_logins(answer: &[u8]) -> Result<Vec<u8>> {
    let mut fields = Fields(answer);
    let (id, error, count) = (fields.i32()?, fields.i16()?, fields.i32()?);
    ensure!(error == 0, "the broker does not tell its versions: {error}");
    let mut known = Vec::new();
    for _ in 0..count {
        known.push([fields.i16()?, fields.i16()?, fields.i16()?]);
    }
    known.retain(|[kind, ..]| ![SASL_HANDSHAKE, SASL_AUTHENTICATE].contains(kind));
    known.extend([[SASL_HANDSHAKE, 1, 1], [SASL_AUTHENTICATE, 0, 0]]);
    let mut told = id.to_be_bytes().to_vec();
    told.extend(error.to_be_bytes());
    put::count(known.len(), &mut told)?;
    told.extend(known.into_iter().flatten().flat_map(i16::to_be_bytes));
    Ok(told)
}

/// The refusal of a request of records (versions 5 to 7) that are too long.
fn too_long(mut request: Fields<'_>, largest: usize) -> Result<Option<Vec<u8>>> {
    let (_transaction, _acks, _timeout) = (request.string()?, request.i16()?, request.i32()?);
    let mut refusal = Vec::new();
    let mut length = 0;
    let topics = request.i32()?;
    refusal.extend(topics.to_be_bytes());
    for _ in 0..topics {
        put::string(&request.string()?, &mut refusal)?;
        let partitions = request.i32()?;
        refusal.extend(partitions.to_be_bytes());
        for _ in 0..partitions {
            refusal.extend(request.i32()?.to_be_bytes());
            length += request.bytes()?.len();
            refusal.extend(MESSAGE_TOO_LARGE.to_be_bytes());
            // Offset, time, and first offset: none.
            refusal.extend([0xff; 24]);
        }
    }
    refusal.extend([0; 4]);
    Ok((length > largest).then_some(refusal))
}

async fn pass(broker: &mut TcpStream, request: &[u8]) -> Result<Vec<u8>> {
    write_frame(broker, request).await?;
    read_frame(broker).await
}

async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let length = usize::try_from(stream.read_i32().await?)?;
    ensure!(length <= FRAME_MAX, "{length} bytes at once");
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> Result<()> {
    let mut whole = Vec::with_capacity(frame.len() + 4);
    put::bytes(frame, &mut whole)?;
    stream.write_all(&whole).await?;
    Ok(stream.flush().await?)
}
