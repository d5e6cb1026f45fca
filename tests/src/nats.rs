//! As much of a NATS client as tests need: requests and their answers, over one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// A connection to a server of this machine.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens, or it is no NATS server.
    pub fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut client = Self { reader: BufReader::new(stream) };
        ensure!(client.line()?.starts_with("INFO "), "no NATS server");
        let hello = json!({"verbose": false, "pedantic": false, "headers": true, "no_responders": true});
        client.say(&format!("CONNECT {hello}\r\nSUB inbox 1\r\n"))?;
        Ok(client)
    }

    fn say(&mut self, text: &str) -> Result<()> {
        Ok(self.reader.get_mut().write_all(text.as_bytes())?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "the server ended the connection");
        Ok(line.trim_end().to_owned())
    }

    /// Asks, and returns the content of the answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn ask(&mut self, subject: &str, content: &str) -> Result<Vec<u8>> {
        self.say(&format!("PUB {subject} inbox {}\r\n{content}\r\n", content.len()))?;
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split(' ').collect();
            let head = match words.first().copied() {
                Some("PING") => {
                    self.say("PONG\r\n")?;
                    continue;
                }
                Some("MSG") => 0,
                Some("HMSG") => words.get(words.len() - 2).context("HMSG without lengths")?.parse()?,
                Some("-ERR") => bail!("the server answers {line}"),
                _ => continue,
            };
            let length: usize = words.last().context("a message without length")?.parse()?;
            let mut content = vec![0; length + 2];
            self.reader.read_exact(&mut content)?;
            content.truncate(length);
            return Ok(content.split_off(head));
        }
    }

    /// Asks JetStream.
    ///
    /// # Errors
    /// When it answers with an error.
    pub fn jetstream(&mut self, call: &str, content: &Value) -> Result<Value> {
        let answer: Value =
            serde_json::from_slice(&self.ask(&format!("$JS.API.{call}"), &content.to_string())?)?;
        ensure!(answer.get("error").is_none(), "{call}: {answer}");
        Ok(answer)
    }

    /// All messages of a stream that allows direct access, from this one on.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn messages(&mut self, stream: &str, first: u64) -> Result<Vec<Vec<u8>>> {
        let info = self.jetstream(&format!("STREAM.INFO.{stream}"), &json!({}))?;
        let last = info["state"]["last_seq"].as_u64().context("no last message")?;
        (first..=last)
            .map(|number| {
                self.ask(&format!("$JS.API.DIRECT.GET.{stream}"), &json!({"seq": number}).to_string())
            })
            .collect()
    }
}
