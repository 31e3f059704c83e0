use std::io::{Read, Write};
use std::net::TcpStream;

use chitchat::wire::CHAT;

/// An HTTP/2 connection by hand (RFC 9113), for what no gRPC library does.
pub struct Http2(TcpStream);

impl Http2 {
    pub fn connect(address: &str) -> Self {
        Self::connect_with(address, &[])
    }

    /// A connection whose streams take nothing from the server: their windows
    /// are empty, and stay so.
    pub fn connect_stuck(address: &str) -> Self {
        Self::connect_with(address, &[0, 4, 0, 0, 0, 0]) // SETTINGS_INITIAL_WINDOW_SIZE
    }

    fn connect_with(address: &str, settings: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream
            .set_read_timeout(Some(super::DEADLINE))
            .expect("a timeout");
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .expect("it is open");
        let mut connection = Self(stream);
        connection.frame(4, 0, 0, settings); // SETTINGS
        connection
    }

    /// Sends a frame. The server may have closed the connection by then.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let _ = self.0.write_all(&frame(kind, flags, stream, payload));
    }

    /// Opens calls of this path, with the odd numbers from `first`, and takes
    /// each back at once. Returns whether the connection is still open.
    pub fn open_and_reset(&mut self, path: &str, first: u32, calls: u32) -> bool {
        let block = headers(path);
        let mut bytes = Vec::new();
        for stream in (first..).step_by(2).take(calls as usize) {
            bytes.extend(frame(1, 4, stream, &block)); // HEADERS, END_HEADERS
            bytes.extend(frame(3, 0, stream, &[0, 0, 0, 8])); // RST_STREAM, CANCEL
        }
        self.0.write_all(&bytes).is_ok()
    }

    /// Closes the connection, for all handles.
    pub fn close(&self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both); // it may be closed already
    }

    /// A second handle, for a thread that reads what the server sends.
    pub fn reader(&self) -> TcpStream {
        self.0.try_clone().expect("a second handle")
    }

    /// Opens a `Chat` call, as stream 1.
    pub fn call(&mut self) {
        self.call_as(CHAT.name, 1);
    }

    /// Opens a call of this path, as a stream of this number.
    pub fn call_as(&mut self, path: &str, stream: u32) {
        self.frame(1, 4, stream, &headers(path)); // HEADERS, END_HEADERS
    }

    /// Opens a call of this path, as stream 1, that says how its messages are
    /// compressed.
    pub fn call_compressed(&mut self, path: &str, encoding: &str) {
        let encoding = [vec![0], text("grpc-encoding"), text(encoding)].concat();
        self.frame(1, 4, 1, &[headers(path), encoding].concat());
    }

    /// Opens a call of this path that asks with an empty message, and nothing
    /// more.
    pub fn ask(&mut self, path: &str, stream: u32) {
        self.call_as(path, stream);
        self.frame(0, 1, stream, &[0; 5]); // DATA, END_STREAM
    }

    /// Reads until the server has begun to answer this stream.
    pub fn until_answered(&mut self, stream: u32) {
        self.until_bytes(&[&[1, 4][..], &stream.to_be_bytes()].concat()); // HEADERS
    }

    /// Reads until the server has taken stream 1 back for a fault inside it.
    pub fn until_reset(&mut self) {
        self.until_bytes(&[3, 0, 0, 0, 0, 1, 0, 0, 0, 2]); // RST_STREAM, INTERNAL_ERROR
    }

    /// Sends this on stream 1 again and again, as long as the server lets more in
    /// between a ping and its answer, but no more than `most` bytes. Returns how
    /// many that were.
    pub fn send_all_that_is_let_in(&mut self, data: &[u8], most: usize) -> usize {
        let (mut sent, mut windows, mut first) = (0, [65_535_i64; 2], 65_535);
        loop {
            let before = sent;
            while sent < most && windows.iter().all(|&w| w >= data.len() as i64) {
                self.frame(0, 0, 1, data); // DATA
                windows = windows.map(|w| w - data.len() as i64);
                sent += data.len();
            }
            if sent == before {
                return sent;
            }
            self.frame(6, 0, 0, &[0; 8]); // PING
            loop {
                let (kind, flags, stream, payload) = self.read_frame();
                match (kind, flags) {
                    (4, 0) => {
                        // SETTINGS
                        self.frame(4, 1, 0, &[]);
                        for setting in payload.chunks(6).filter(|s| s[..2] == [0, 4]) {
                            // SETTINGS_INITIAL_WINDOW_SIZE
                            windows[1] += number(&setting[2..]) - first;
                            first = number(&setting[2..]);
                        }
                    }
                    (6, 0) => self.frame(6, 1, 0, &payload),
                    (6, _) => break,
                    (8, _) => windows[stream] += number(&payload), // WINDOW_UPDATE
                    _ => {}
                }
            }
        }
    }

    /// Reads until the server has sent a message that contains `what`.
    pub fn until_data(&mut self, what: &str) {
        let is_it = |data: &[u8]| data.windows(what.len()).any(|w| w == what.as_bytes());
        while !matches!(self.read_frame(), (0, _, _, data) if is_it(&data)) {}
    }

    /// Sends a ping. Returns which frames come before its answer: their kinds and
    /// streams.
    pub fn ping(&mut self) -> Vec<(u8, usize)> {
        self.frame(6, 0, 0, &[0; 8]);
        let mut before = Vec::new();
        loop {
            match self.read_frame() {
                (6, 1, ..) => return before,
                (kind, _, stream, _) => before.push((kind, stream)),
            }
        }
    }

    /// The next frame: its kind, its flags, its stream, which is none beyond 255,
    /// and its payload.
    fn read_frame(&mut self) -> (u8, u8, usize, Vec<u8>) {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).expect("a frame");
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        self.0.read_exact(&mut payload).expect("all of it");
        (head[3], head[4], usize::from(head[8]), payload)
    }

    /// Opens a `Chat` call and joins.
    pub fn join(&mut self, name: &str, id: u8) {
        self.call();
        let message = [&[0x08, id, 0x12], text(name).as_slice()].concat();
        let data = [&[0, 0, 0, 0, message.len() as u8], message.as_slice()].concat();
        self.frame(0, 0, 1, &data); // DATA
    }

    /// Reads until the server closes the connection.
    pub fn until_closed(&mut self) {
        let mut sink = [0; 4096];
        loop {
            match self.0.read(&mut sink) {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("waited in vain for the server to close the connection")
                }
                Err(_) => return,
            }
        }
    }

    /// Reads until the server has sent something that contains `what`, and gives
    /// what that was.
    pub fn until(&mut self, what: &str) -> Vec<u8> {
        self.until_bytes(what.as_bytes())
    }

    fn until_bytes(&mut self, what: &[u8]) -> Vec<u8> {
        let mut seen: Vec<u8> = Vec::new();
        let mut chunk = [0; 4096];
        while !seen.windows(what.len()).any(|w| w == what) {
            let n = self.0.read(&mut chunk).expect("the server answers");
            assert!(n > 0, "the server closed the connection");
            seen.extend(&chunk[..n]);
        }
        seen
    }
}

fn number(bytes: &[u8]) -> i64 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes")).into()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The headers of a call, each a literal without indexing (RFC 7541,
/// 6.2.2).
fn headers(path: &str) -> Vec<u8> {
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .into_iter()
    .flat_map(|(k, v)| [vec![0], text(k), text(v)].concat())
    .collect()
}

fn text(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}
