//! The side of a server in SASL: PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677).

use std::num::NonZeroU32;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};

use super::Rules;

/// The mechanisms, in the order of Kafka's brokers.
pub(super) const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
/// The fewest that Kafka's brokers use.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// A login under way.
#[derive(Debug)]
pub(super) struct Login {
    mechanism: &'static str,
    rules: Rules,
    /// What was said so far with SCRAM.
    said: Option<Said>,
}

#[derive(Debug)]
struct Said {
    client: String,
    server: String,
    nonce: String,
    salt: [u8; 16],
}

/// What a server answers, and whether it knows the client now.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) answer: String,
    pub(super) is_done: bool,
}

/// The functions of a mechanism.
struct Functions {
    hmac: hmac::Algorithm,
    digest: &'static digest::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

impl Login {
    /// Begins one; `None`: there is no such mechanism.
    pub(super) fn begin(mechanism: &str, rules: &Rules) -> Option<Self> {
        let mechanism = MECHANISMS.into_iter().find(|name| *name == mechanism)?;
        Some(Self { mechanism, rules: rules.clone(), said: None })
    }

    pub(super) fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// The next message of the client.
    ///
    /// # Errors
    /// It is not who it says.
    pub(super) fn step(&mut self, message: &[u8]) -> Result<Step> {
        let message = std::str::from_utf8(message)?;
        let functions = match self.mechanism {
            "PLAIN" => return self.plain(message),
            "SCRAM-SHA-256" => Functions {
                hmac: hmac::HMAC_SHA256,
                digest: &digest::SHA256,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
            },
            _ => Functions {
                hmac: hmac::HMAC_SHA512,
                digest: &digest::SHA512,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512,
            },
        };
        match self.said.take() {
            None => self.scram_first(message),
            Some(said) => self.scram_final(message, &said, &functions),
        }
    }

    fn plain(&self, message: &str) -> Result<Step> {
        let parts: Vec<&str> = message.split('\0').collect();
        ensure!(parts == ["", &self.rules.user, &self.rules.password], "another user or password");
        Ok(Step { answer: String::new(), is_done: true })
    }

    fn scram_first(&mut self, message: &str) -> Result<Step> {
        let bare = message.strip_prefix("n,,").context("binding to a channel")?;
        let (user, client) =
            bare.strip_prefix("n=").and_then(|rest| rest.split_once(",r=")).context("no user or nonce")?;
        ensure!(user == self.rules.user, "another user");
        ensure!(!client.is_empty() && !client.contains(','), "a nonce that is none");
        let (mut salt, mut own) = ([0; 16], [0; 18]);
        let random = SystemRandom::new();
        if random.fill(&mut salt).and_then(|()| random.fill(&mut own)).is_err() {
            bail!("no random numbers");
        }
        let nonce = format!("{client}{}", BASE64_STANDARD.encode(own));
        let server = format!("r={nonce},s={},i={ITERATIONS}", BASE64_STANDARD.encode(salt));
        self.said = Some(Said { client: bare.to_owned(), server: server.clone(), nonce, salt });
        Ok(Step { answer: server, is_done: false })
    }

    fn scram_final(&self, message: &str, said: &Said, functions: &Functions) -> Result<Step> {
        let (without, proof) = message.rsplit_once(",p=").context("no proof")?;
        // "n,," in base 64.
        ensure!(without == format!("c=biws,r={}", said.nonce), "another nonce");
        let length = functions.digest.output_len();
        let mut salted = vec![0; length];
        let password = self.rules.password.as_bytes();
        pbkdf2::derive(functions.pbkdf2, ITERATIONS, &said.salt, password, &mut salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(functions.hmac, key), text);
        let key = sign(&salted, b"Client Key");
        let stored = digest::digest(functions.digest, key.as_ref());
        let all = [said.client.as_str(), &said.server, without].join(",");
        let signature = sign(stored.as_ref(), all.as_bytes());
        let proof = BASE64_STANDARD.decode(proof)?;
        ensure!(proof.len() == length, "a proof of another length");
        let shown: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(proof, sign)| proof ^ sign).collect();
        ensure!(digest::digest(functions.digest, &shown).as_ref() == stored.as_ref(), "another password");
        let own = sign(sign(&salted, b"Server Key").as_ref(), all.as_bytes());
        Ok(Step { answer: format!("v={}", BASE64_STANDARD.encode(own)), is_done: true })
    }
}
