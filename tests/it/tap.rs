//! Listens to what a store sends, to count it, or to deliver it again later.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Between a store and its server.
pub struct Tap {
    address: SocketAddr,
    server: String,
    heard: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Tap {
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(listen(listener, server.to_owned(), Arc::clone(&heard)));
        Self { address, server: server.to_owned(), heard, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was sent since it was last asked.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }

    /// Delivers requests once more, and answers the replies.
    pub async fn deliver(&self, requests: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.server).await.unwrap();
        stream.write_all(requests).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut replies = Vec::new();
        stream.read_to_end(&mut replies).await.unwrap();
        replies
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, server: String, heard: Arc<Mutex<Vec<u8>>>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(&server).await.unwrap();
        let heard = Arc::clone(&heard);
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
            let mut buffer = vec![0; 1 << 16];
            loop {
                match from_client.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => {
                        heard.lock().unwrap().extend_from_slice(&buffer[..read]);
                        to_server.write_all(&buffer[..read]).await.unwrap();
                    }
                }
            }
        });
    }
}
