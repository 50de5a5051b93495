//! A small server that speaks adb's protocol and does whatever a test says, for faults that a real server
//! cannot be made to show.

use super::super::{Adb, Phone, Server};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The serial that tests ask for.
pub(super) const SERIAL: &str = "10.0.0.7:5555";

/// It, and what it was asked so far. Dropping it ends the server, not the talks.
pub(in super::super) struct Scripted {
    pub(in super::super) server: Server,
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    listening: JoinHandle<()>,
}

/// One connection.
pub(in super::super) struct Talk {
    pub(super) stream: TcpStream,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Has every connection served by `serve`.
    pub(super) async fn new<F>(serve: impl Fn(Talk) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(Talk { stream, asked: Arc::clone(&noted) }));
            }
        });
        Self { server: Server { host: "127.0.0.1".to_owned(), port, may_start: false }, asked, listening }
    }

    /// Answers questions about devices with `list`, and has their services served by `serve`.
    pub(in super::super) async fn with_devices<F>(
        list: &'static str,
        serve: impl Fn(Talk, String) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::new(move |mut talk| {
            let serve = serve.clone();
            async move {
                let request = talk.request().await;
                if request.starts_with("host:devices") {
                    talk.text(list).await;
                } else if request.starts_with("host:transport:") {
                    talk.raw(b"OKAY").await;
                    let service = talk.request().await;
                    serve(talk, service).await;
                } else {
                    serve(talk, request).await;
                }
            }
        })
        .await
    }

    pub(super) fn phone(&self) -> Adb {
        self.phone_called(SERIAL)
    }

    pub(super) fn phone_called(&self, serial: &str) -> Adb {
        Adb(Arc::new(Phone::new(self.server.clone(), serial.to_owned())))
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Talk {
    /// The next request; empty when the client hangs up.
    pub(super) async fn request(&mut self) -> String {
        let mut digits = [0; 4];
        if self.stream.read_exact(&mut digits).await.is_err() {
            return String::new();
        }
        let length = usize::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap();
        let mut text = vec![0; length];
        self.stream.read_exact(&mut text).await.unwrap();
        let text = String::from_utf8(text).unwrap();
        self.asked.lock().unwrap().push(text.clone());
        text
    }

    /// By this connection or an earlier one.
    pub(super) fn has_been_asked(&self, request: &str) -> bool {
        self.asked.lock().unwrap().iter().any(|asked| asked == request)
    }

    /// The client may have hung up: that is what some tests are about.
    pub(in super::super) async fn raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    pub(in super::super) async fn text(&mut self, text: &str) {
        self.raw(format!("OKAY{:04x}{text}", text.len()).as_bytes()).await;
    }

    pub(super) async fn fail(&mut self, why: &str) {
        self.raw(format!("FAIL{:04x}{why}", why.len()).as_bytes()).await;
    }

    /// Reads on until the client hangs up.
    pub(super) async fn drain(&mut self) {
        let mut bytes = vec![0; 1 << 16];
        while self.stream.read(&mut bytes).await.is_ok_and(|n| n > 0) {}
    }
}
